"""Networks: arrays in, arrays out.

autoencoder: paper 1's autoencoder.
depthwise: depthwise convolution.
efficientnet: paper 2's encoder.
layers: convolution and its like, as every platform does them well.
maf: the masked autoregressive flow.
norms: BatchNorm and Dropout over split batches.
resnet: paper 1's ResNet.
timm_weights: published EfficientNet weights.
"""
