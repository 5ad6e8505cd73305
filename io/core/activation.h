/* SPDX-License-Identifier: MIT
 * io/core/activation.h - the function that the gate of an MLP, or of an attention, goes through. */
#ifndef AWQ_IO_CORE_ACTIVATION_H
#define AWQ_IO_CORE_ACTIVATION_H

typedef enum awq_activation {
    AWQ_SILU,      /* x / (1 + exp(-x)) */
    AWQ_GELU_TANH, /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    AWQ_GELU,      /* 0.5 x (1 + erf(x / sqrt(2))) */
    AWQ_RELU2,     /* max(x, 0)^2 */
    AWQ_SIGMOID,   /* 1 / (1 + exp(-x)): an attention's output gate */
    AWQ_CLAMP,     /* x within +-limit */
    AWQ_SWIGLU_OAI /* x / (1 + exp(-1.702 x)), x limited; what it multiplies is up + 1, up limited:
                      not linear in up */
} awq_activation;

#endif
