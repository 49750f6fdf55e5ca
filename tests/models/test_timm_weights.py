"""Published weights: a file in timm's naming, made here, lands where it belongs; any other is refused in a sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asd_jax.base.errors import UserError
from asd_jax.models.efficientnet import Encoder
from asd_jax.models.timm_weights import load_backbone


def norm(name, channels):
    return {
        f"{name}.weight": (channels,),
        f"{name}.bias": (channels,),
        f"{name}.running_mean": (channels,),
        f"{name}.running_var": (channels,),
    }


def gate(name, expanded, reduced):
    return {
        f"{name}.se.conv_reduce.weight": (reduced, expanded, 1, 1),
        f"{name}.se.conv_reduce.bias": (reduced,),
        f"{name}.se.conv_expand.weight": (expanded, reduced, 1, 1),
        f"{name}.se.conv_expand.bias": (expanded,),
    }


def timm_shapes():
    """Names and shapes of tf_efficientnet_b0, as timm 1.0 writes them."""
    shapes = {"conv_stem.weight": (32, 3, 3, 3), **norm("bn1", 32)}
    name, channels = "blocks.0.0", 32
    shapes |= {f"{name}.conv_dw.weight": (32, 1, 3, 3), **norm(f"{name}.bn1", 32), **gate(name, 32, 8)}
    shapes |= {f"{name}.conv_pw.weight": (16, 32, 1, 1), **norm(f"{name}.bn2", 16)}
    channels = 16
    for stage, (out, blocks, size) in enumerate(
        ((24, 2, 3), (40, 2, 5), (80, 3, 3), (112, 3, 5), (192, 4, 5), (320, 1, 3)), start=1
    ):
        for block in range(blocks):
            name, expanded = f"blocks.{stage}.{block}", 6 * channels
            shapes |= {f"{name}.conv_pw.weight": (expanded, channels, 1, 1), **norm(f"{name}.bn1", expanded)}
            shapes |= {f"{name}.conv_dw.weight": (expanded, 1, size, size), **norm(f"{name}.bn2", expanded)}
            shapes |= gate(name, expanded, channels // 4)
            shapes |= {f"{name}.conv_pwl.weight": (out, expanded, 1, 1), **norm(f"{name}.bn3", out)}
            channels = out
    shapes |= {"conv_head.weight": (1280, 320, 1, 1), **norm("bn2", 1280)}
    return shapes | {"classifier.weight": (1000, 1280), "classifier.bias": (1000,)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file whose tensors are all different."""
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in timm_shapes().items()}
    tensors["bn1.num_batches_tracked"] = np.array(7)
    path = tmp_path_factory.mktemp("weights") / "tf_efficientnet_b0.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def shapes():
    """An encoder's parameters and statistics, as shapes: no more is needed of them."""
    variables = jax.eval_shape(lambda: Encoder(7).init(jax.random.key(0), jnp.zeros((1, 126, 224)), False))
    return variables["params"], variables["batch_stats"]


def test_every_tensor_lands_in_its_place(published, shapes):
    tensors = load_file(published)
    params, batch_stats = load_backbone(published, *shapes)
    backbone, stats = params["backbone"], batch_stats["backbone"]

    np.testing.assert_allclose(
        backbone["stem"]["kernel"][..., 0, :], tensors["conv_stem.weight"].sum(1).transpose(1, 2, 0), rtol=1e-6
    )
    places = {
        "bn1.weight": backbone["stem_norm"]["scale"],
        "bn1.running_var": stats["stem_norm"]["var"],
        "bn2.running_mean": stats["head_norm"]["mean"],
        "conv_head.weight": backbone["head"]["kernel"].transpose(3, 2, 0, 1),
        "blocks.0.0.bn1.bias": backbone["block_0_0"]["depthwise_norm"]["bias"],
        "blocks.0.0.bn2.running_mean": stats["block_0_0"]["project_norm"]["mean"],
        "blocks.0.0.conv_pw.weight": backbone["block_0_0"]["project"]["kernel"].transpose(3, 2, 0, 1),
        "blocks.4.2.bn1.weight": backbone["block_4_2"]["expand_norm"]["scale"],
        "blocks.4.2.bn2.running_var": stats["block_4_2"]["depthwise_norm"]["var"],
        "blocks.4.2.bn3.bias": backbone["block_4_2"]["project_norm"]["bias"],
        "blocks.4.2.conv_pw.weight": backbone["block_4_2"]["expand"]["kernel"].transpose(3, 2, 0, 1),
        "blocks.4.2.conv_pwl.weight": backbone["block_4_2"]["project"]["kernel"].transpose(3, 2, 0, 1),
        "blocks.4.2.conv_dw.weight": backbone["block_4_2"]["depthwise"]["kernel"].transpose(3, 2, 0, 1),
        "blocks.4.2.se.conv_reduce.weight": backbone["block_4_2"]["squeeze"]["kernel"].T[..., None, None],
        "blocks.4.2.se.conv_expand.bias": backbone["block_4_2"]["excite"]["bias"],
    }
    for name, array in places.items():
        np.testing.assert_array_equal(array, tensors[name], err_msg=name)

    taken = sum(tensor.size for name, tensor in tensors.items() if not name.startswith(("classifier", "bn1.num")))
    placed = sum(leaf.size for leaf in jax.tree.leaves((backbone, stats)) if leaf.shape)
    assert placed == taken - 2 * 32 * 9  # of the first convolution's three input channels, one is left
    # nothing else is touched, and the result is what the encoder takes
    assert params["Dense_0"] is shapes[0]["Dense_0"]

    def like(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    assert like((params, batch_stats)) == like(shapes)


def test_one_input_channel_equals_the_image_repeated_for_each(published, shapes):
    kernel = load_file(published)["conv_stem.weight"].transpose(2, 3, 1, 0)
    summed = load_backbone(published, *shapes)[0]["backbone"]["stem"]["kernel"]
    image = jax.random.normal(jax.random.key(0), (2, 9, 8, 1))

    def conv(image, kernel):
        return jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    np.testing.assert_allclose(conv(image, summed), conv(jnp.tile(image, 3), kernel), atol=1e-4)


def test_small_networks_take_weights_of_their_own_shapes_only(published):
    variables = jax.eval_shape(
        lambda: Encoder(7, width=0.25, depth=0.25).init(jax.random.key(0), jnp.zeros((1, 126, 224)), False)
    )
    with pytest.raises(UserError, match=r"The tensor \S+ of .*b0.safetensors has the shape .* does not fit"):
        load_backbone(published, variables["params"], variables["batch_stats"])


def test_files_that_do_not_fit_are_refused(published, shapes, tmp_path):
    tensors = load_file(published)
    path = tmp_path / "other.safetensors"

    with pytest.raises(UserError, match=r"other.safetensors cannot be read .*tf_efficientnet_b0"):
        load_backbone(path, *shapes)
    with pytest.raises(UserError, match="cannot be read"):
        load_backbone(tmp_path, *shapes)
    path.write_bytes(b"\x80\x02}q\x00. no such format")
    with pytest.raises(UserError, match="other.safetensors is not a safetensors file"):
        load_backbone(path, *shapes)

    missing = {name: tensor for name, tensor in tensors.items() if name != "blocks.3.1.conv_dw.weight"}
    save_file(missing, path)
    with pytest.raises(UserError, match=r"other.safetensors does not hold the tensor blocks.3.1.conv_dw.weight"):
        load_backbone(path, *shapes)

    save_file(tensors | {"blocks.1.0.conv_dw.weight": np.zeros((96, 1, 5, 5), np.float32)}, path)
    with pytest.raises(UserError, match=r"blocks.1.0.conv_dw.weight .* has the shape \(96, 1, 5, 5\)"):
        load_backbone(path, *shapes)

    save_file(tensors | {"blocks.6.1.conv_pw.weight": np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(UserError, match=r"holds the tensor blocks.6.1.conv_pw.weight, which this network does not"):
        load_backbone(path, *shapes)
