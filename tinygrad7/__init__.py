"""tinygrad7: automatic differentiation that can be read, seen and proved."""

from tinygrad7.context import default_dtype, detect_anomaly, device, enable_grad, no_grad, scope, step
from tinygrad7.ops.elementwise import *  # noqa
from tinygrad7.ops.shape import *  # noqa
from tinygrad7.ops.reduce import *  # noqa
from tinygrad7.ops.linalg import *  # noqa
from tinygrad7.tape import primitive
from tinygrad7.tensor import Tensor, tensor
from tinygrad7.grad import gradients
