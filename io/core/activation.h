/* SPDX-License-Identifier: MIT
 * io/core/activation.h - the function that the gate of an MLP goes through. */
#ifndef AWQ_IO_CORE_ACTIVATION_H
#define AWQ_IO_CORE_ACTIVATION_H

typedef enum awq_activation {
    AWQ_SILU,     /* x / (1 + exp(-x)) */
    AWQ_GELU_TANH /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
} awq_activation;

#endif
