/* SPDX-License-Identifier: MIT
 * io/core/activation.h - the function that the gate of an MLP goes through, or its only input. */
#ifndef AWQ_IO_CORE_ACTIVATION_H
#define AWQ_IO_CORE_ACTIVATION_H

typedef enum awq_activation {
    AWQ_SILU,      /* x / (1 + exp(-x)); with a limit as AWQ_SWIGLU_OAI clamps */
    AWQ_GELU_TANH, /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    AWQ_GELU,      /* 0.5 x (1 + erf(x / sqrt(2))) */
    AWQ_RELU2,     /* max(x, 0)^2 */
    AWQ_SIGMOID,   /* 1 / (1 + exp(-x)) */
    AWQ_SWIGLU_OAI /* x sigmoid(1.702 x) (up + 1), x at most `limit`, up within +-limit */
} awq_activation;

#endif
