"""The tensor functions reproduce the recorded numbers of the official DC, DSA, IDC and DREAM code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from limbeck.ops import cutmix, diversity, gradient_distance, kmeans, partition, selection, transforms
from tests.parity.vectors_dir import find

TOLERANCE = 1e-9
TIE = 1e-9

Vectors = dict[str, np.ndarray]


def files(prefix: str) -> pytest.MarkDecorator:
    """Run a test once for each vector file of a family."""
    return pytest.mark.parametrize("path", find(prefix), ids=lambda path: path.stem)


def load(path: Path) -> Vectors:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))


def close(ours: Tensor, theirs: np.ndarray) -> None:
    expected = tensor(theirs)
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours.detach(), expected.to(ours.dtype), rtol=TOLERANCE, atol=TOLERANCE)


def parameters(vectors: Vectors, prefix: str, names: str) -> dict[str, Tensor]:
    """Network parameters by official name."""
    return {str(name): tensor(vectors[f"{prefix}{i:02d}"]) for i, name in enumerate(vectors[names])}


def convnet(weights: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and last feature map of the ConvNet with instance norm; weights in either official naming."""
    values = list(weights.items())
    kernels = [(value, values[i + 1][1]) for i, (_, value) in enumerate(values) if value.ndim == 4]
    biases = {id(bias) for _, bias in kernels}
    rest = [value for name, value in values if value.ndim == 1 and id(value) not in biases]
    classifier, offset = values[-2][1], values[-1][1]
    norms = [value for value in rest if value is not offset]
    for i, (kernel, bias) in enumerate(kernels):
        x = functional.conv2d(x, kernel, bias, padding=3 if i == 0 and x.shape[1] == 1 else 1)
        x = functional.group_norm(x, x.shape[1], norms[2 * i], norms[2 * i + 1])
        x = functional.avg_pool2d(functional.relu(x), 2)
    return functional.linear(x.flatten(1), classifier, offset), x


def gradients(weights: dict[str, Tensor], x: Tensor, label: int, create_graph: bool) -> dict[str, Tensor]:
    weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
    logits, _ = convnet(weights, x)
    loss = functional.cross_entropy(logits, torch.full((len(x),), label))
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph)
    return dict(zip(weights, found, strict=True))


def vjp(function: Callable[[Tensor], Tensor], x: Tensor, cotangent: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad((cotangent * function(x)).sum(), x)[0]


# --- augmentation


@files("dsa_dc")
@pytest.mark.parametrize("name", ["brightness", "saturation", "contrast", "flip", "crop", "cutout", "scale", "rotate"])
def test_dsa_operation(path: Path, name: str) -> None:
    vectors = load(path)
    arguments = {
        "crop": ("crop_shift_rows", "crop_shift_cols"),
        "cutout": ("cutout_center_rows", "cutout_center_cols"),
        "scale": ("scale_ux", "scale_uy"),
    }.get(name, (f"{name}_u",))
    drawn = [tensor(vectors[key]) for key in arguments]
    operation = getattr(transforms, name)
    x, v = tensor(vectors["x"]), tensor(vectors["v"])
    close(operation(x, *drawn), vectors[f"{name}_y"])
    close(vjp(lambda x: operation(x, *drawn), x, v), vectors[f"{name}_vjp"])
    close(operation(x, *(values[0] for values in drawn)), vectors[f"{name}_siamese_y"])
    close(operation(x, *(values[:1] for values in drawn)), vectors[f"{name}_siamese_y"])


@files("dsa_dc")
def test_dsa_color_and_ranges(path: Path) -> None:
    vectors = load(path)
    x, u = tensor(vectors["x"]), tensor(vectors["color_u"])
    colored = transforms.contrast(transforms.saturation(transforms.brightness(x, u[0]), u[1]), u[2])
    close(colored, vectors["color_y"])
    height, width = x.shape[2:]
    hole = [transforms.cutout_size(height), transforms.cutout_size(width)]
    assert hole == vectors["cutout_hole"].tolist()
    assert vectors["cutout_center_rows"].max() <= transforms.cutout_limit(height)
    assert abs(vectors["crop_shift_rows"]).max() <= transforms.shift_limit(height)

    # The recorded factors, seen through our functions on images for which they can be read off.
    ramp = torch.linspace(-1, 1, width, dtype=x.dtype).expand(3, 3, height, width)
    channels = torch.tensor([1.0, 0.0, -1.0], dtype=x.dtype).view(1, 3, 1, 1).expand_as(ramp)
    count = len(vectors["flip_u"])
    flat = torch.zeros(count, 1, 1, 1, dtype=x.dtype)
    close(transforms.brightness(flat, tensor(vectors["brightness_u"]))[:, 0, 0, 0], vectors["brightness_add"])
    close(
        transforms.saturation(channels[:1].expand(count, -1, -1, -1), tensor(vectors["saturation_u"]))[:, 0, 0, 0],
        vectors["saturation_factor"],
    )
    close(
        transforms.contrast(ramp[:1].expand(count, -1, -1, -1), tensor(vectors["contrast_u"]))[:, 0, 0, -1],
        vectors["contrast_factor"],
    )
    mirrored = transforms.flip(ramp[:1].expand(count, -1, -1, -1), tensor(vectors["flip_u"]))[:, 0, 0, 0] > 0
    assert mirrored.tolist() == vectors["flip_flipped"].tolist()
    # Along its axis a ramp stays a ramp under scaling, and its slope at the centre is the factor.
    size = 64
    line = (torch.arange(size, dtype=x.dtype) * 2 + 1) / size - 1
    for factors, values, argument in (
        ("scale_sx", line.expand(count, 1, size, size), "scale_ux"),
        ("scale_sy", line[:, None].expand(count, 1, size, size), "scale_uy"),
    ):
        u = tensor(vectors[argument])
        half = torch.full_like(u, 0.5)
        scaled = transforms.scale(values, u, half) if factors == "scale_sx" else transforms.scale(values, half, u)
        middle = scaled[:, 0, size // 2, size // 2 : size // 2 + 2]
        if factors == "scale_sy":
            middle = scaled[:, 0, size // 2 : size // 2 + 2, size // 2]
        close((middle[:, 1] - middle[:, 0]) * size / 2, vectors[factors])
    rotated = transforms.rotate(line.expand(count, 1, size, size), tensor(vectors["rotate_u"]))
    slope = rotated[:, 0, size // 2 + 1, size // 2] - rotated[:, 0, size // 2, size // 2]
    close(-slope * size / 2, np.sin(vectors["rotate_angle"]))


@files("dsa_idc")
def test_idc_operations(path: Path) -> None:
    vectors = load(path)
    x = tensor(vectors["x"])
    for mode in ("b", "s"):
        for name in ("brightness", "saturation", "contrast", "rotate"):
            u = tensor(vectors[f"{name}_{mode}_u"])
            close(getattr(transforms, name)(x, u), vectors[f"{name}_{mode}_y"])
        for name, key in (("crop", "shift"), ("cutout", "offset"), ("scale", "u")):
            first, second = tensor(vectors[f"{name}_{mode}_{key}"])
            close(getattr(transforms, name)(x, first, second), vectors[f"{name}_{mode}_y"])
    close(transforms.flip(x, torch.tensor(0.3)), vectors["flip_b_y_u3"])
    close(transforms.flip(x, torch.tensor(0.5)), vectors["flip_b_y_u5"])
    still = torch.zeros((), dtype=torch.int64)
    close(transforms.crop(x, still, tensor(vectors["translate_b_shift"])), vectors["translate_b_y"])


@files("dsa_idc")
def test_idc_composites(path: Path) -> None:
    vectors = load(path)
    x = tensor(vectors["x"])
    t = transforms
    y = t.contrast(t.saturation(t.brightness(x, tensor(np.array(0.2))), tensor(np.array(0.8))), tensor(np.array(0.6)))
    y = t.crop(y, torch.tensor(1), torch.tensor(-1))
    close(t.cutout(y, torch.tensor(3), torch.tensor(4)), vectors["match_aug_y"])
    u = tensor(vectors["eval_aug_t"])
    y = t.contrast(t.saturation(t.brightness(t.flip(x, u[0]), u[1]), u[2]), u[3])
    close(t.rotate(y, tensor(vectors["eval_aug_rot_u"])), vectors["eval_aug_y"])


# --- partition


@files("idc_decode")
def test_idc_decode(path: Path) -> None:
    vectors = load(path)
    cases = [match for match in (re.fullmatch(r"(h\d+_f(\d+)_)x", name) for name in vectors) if match]
    assert cases
    for match in cases:
        case, factor = match[1], int(match[2])
        x = tensor(vectors[case + "x"])
        y = partition.decode(x, factor)
        close(y, vectors[case + "y"])
        v = torch.sin(0.1 * torch.arange(y.numel(), dtype=x.dtype)).view_as(y)
        close(vjp(lambda x, factor=factor: partition.decode(x, factor), x, v), vectors[case + "vjp"])
        source = tensor(vectors[case + "init_src"])
        official = partition.encode(source, factor, "official")
        close(official, vectors[case + "init"])
        if x.shape[2] % factor in (0, factor - 1):
            torch.testing.assert_close(partition.encode(source, factor), official, rtol=0, atol=0)


@files("idc_decode")
def test_idc_decode_several(path: Path) -> None:
    vectors = load(path)
    x = tensor(vectors["alt_x"])
    pieces = len(vectors["multi128_y"]) // len(x) if "multi128_y" in vectors else 14
    factor = next(f for f in range(1, 10) if f * (f + 1) * (2 * f + 1) // 6 == pieces)  # sum of squares
    for name in [name for name in vectors if re.fullmatch(r"(multi|bound)\d+_y", name)]:
        kind, bound = re.fullmatch(r"([a-z]+)(\d+)_y", name).groups()
        y = partition.decode_multi(x, factor) if kind == "multi" else partition.decode_bound(x, factor, int(bound))
        close(y, vectors[name])
        rows = partition.stored_rows(len(x), factor, kind, bound=int(bound))
        assert rows.tolist() == vectors[f"{kind}{bound}_t"].tolist()


@files("partition_decode_zoom")
def test_dsdm_partition(path: Path) -> None:
    vectors = load(path)
    for case in sorted({name.split("_")[0] for name in vectors}):
        factor = int(vectors[f"{case}_factor"])
        check_partition(vectors, case, factor, f"{case}_class_images", "both", 0.5)


@files("partition_speech")
def test_speech_partition(path: Path) -> None:
    vectors = load(path)
    for case in sorted({name.split("_")[0] for name in vectors}):
        factor = int(vectors[f"{case}_factor"])
        check_partition(vectors, case, factor, f"{case}_class_specs", "columns", 0.0)


def check_partition(vectors: Vectors, case: str, factor: int, sources: str, axes: partition.Axes, pad: float) -> None:
    packed = [partition.encode(group, factor, "official", axes=axes) for group in tensor(vectors[sources])]
    close(torch.cat(packed), vectors[f"{case}_mix_init"])
    x = tensor(vectors[f"{case}_decode_in"])
    close(partition.decode(x, factor, axes=axes, pad=pad), vectors[f"{case}_decode_out"])
    pulled = vjp(lambda x: partition.decode(x, factor, axes=axes, pad=pad), x, tensor(vectors[f"{case}_cotangent"]))
    close(pulled, vectors[f"{case}_decode_vjp"])
    rows = partition.stored_rows(len(x), factor, axes=axes)
    assert rows.tolist() == vectors[f"{case}_decode_target"].tolist()


@files("partition_idm")
def test_idm_partition(path: Path) -> None:
    vectors = load(path)
    for case in sorted({name.split("_")[0] for name in vectors}):
        x = tensor(vectors[f"{case}_in"])
        close(partition.decode(x, 2, order="columns"), vectors[f"{case}_out"])
        pulled = vjp(lambda x: partition.decode(x, 2, order="columns"), x, tensor(vectors[f"{case}_cotangent"]))
        close(pulled, vectors[f"{case}_vjp"])
        labels = tensor(vectors[f"{case}_labels"])[partition.stored_rows(len(x), 2)]
        assert labels.tolist() == vectors[f"{case}_out_labels"].tolist()
        packed = partition.encode(x.repeat(4, 1, 1, 1), 2, order="columns", resample="bilinear")
        half = x.shape[2] // 2
        for top in (0, half):
            for left in (0, half):
                part = packed[:, :, top : top + half, left : left + half]
                close(part, vectors[f"{case}_downscale_half"])


# --- matching losses


@files("dc_match")
def test_dc_match(path: Path) -> None:
    vectors = load(path)
    weights = parameters(vectors, "p", "names")
    real, synthetic = tensor(vectors["real"]), tensor(vectors["syn"]).requires_grad_()
    metrics = {"ours": "cosine", "mse": "mse", "cos": "full_cosine"}
    losses: dict[str, list[Tensor]] = {name: [] for name in metrics}
    for label, (images, stored) in enumerate(zip(real, synthetic, strict=True)):
        wanted = list(gradients(weights, images, label, False).values())
        got = list(gradients(weights, stored, label, True).values())
        for name, metric in metrics.items():
            losses[name].append(gradient_distance.distance(wanted, got, metric))
        if label == 0:
            layers = [gradient_distance.tensor_distance(a, b, "cosine") for a, b in zip(wanted, got, strict=True)]
            close(torch.stack(layers), vectors["layer_ours_class0"])
            for i, gradient in enumerate(wanted):
                close(gradient, vectors[f"greal_class0_p{i:02d}"])
    for name, values in losses.items():
        close(torch.stack(values), vectors[f"loss_{name}"])
        pulled = torch.autograd.grad(torch.stack(values).sum(), synthetic, retain_graph=True)[0]
        close(pulled, vectors[f"gsyn_{name}"])


@files("dc_match")
def test_dc_tensor_distance(path: Path) -> None:
    vectors = load(path)
    cases = [name[:-2] for name in vectors if re.fullmatch(r"d_\w+_a", name)]
    assert cases
    for case in cases:
        a, b = tensor(vectors[case + "_a"]), tensor(vectors[case + "_b"])
        close(gradient_distance.tensor_distance(a, b, "cosine"), vectors[case])


@files("idc_match")
def test_idc_match(path: Path) -> None:
    vectors = load(path)
    weights = parameters(vectors, "p", "names")
    real, synthetic = tensor(vectors["real"]), tensor(vectors["syn"]).requires_grad_()
    logits, features = convnet(weights, real[0])
    close(logits, vectors["logits_real0"])
    close(features.flatten(1), vectors["embed_real0"])
    variants = [name.removeprefix("loss_") for name in vectors if name.startswith("loss_")]
    losses: dict[str, list[Tensor]] = {name: [] for name in variants}
    for label, (images, stored) in enumerate(zip(real, synthetic, strict=True)):
        decoded = partition.decode(stored, 2)
        wanted, got = gradients(weights, images, label, False), gradients(weights, decoded, label, True)
        for name in variants:
            if name == "feat":
                seen = [convnet(weights, batch)[1] for batch in (images, decoded)]
                losses[name].append(gradient_distance.feature_mean_distance(*seen))
                continue
            bias, classifier = "_bias" in name, "_fc" in name
            metric = name.replace("_bias", "").replace("_fc", "").replace("cos", "cosine")
            keys = [key for key, value in weights.items() if gradient_distance.selected(value.ndim, bias, classifier)]
            losses[name].append(gradient_distance.distance([wanted[k] for k in keys], [got[k] for k in keys], metric))
    for name, values in losses.items():
        close(torch.stack(values), vectors[f"loss_{name}"])
        if f"gsyn_{name}" in vectors:
            pulled = torch.autograd.grad(torch.stack(values).sum(), synthetic, retain_graph=True)[0]
            close(pulled, vectors[f"gsyn_{name}"])


@files("idc_train")
def test_idc_cutmix(path: Path) -> None:
    vectors = load(path)
    for lam, row, col, height, width, r1, k1, r2, k2 in vectors["boxes"].tolist():
        assert cutmix.box(lam, int(row), int(col), int(height), int(width)) == (r1, r2, k1, k2)
    x, y, partner = (tensor(vectors[name]) for name in ("x", "y", "perm"))
    height, width = x.shape[2:]
    lam, row, col = vectors["cutmix_par"].tolist()
    box = cutmix.box(lam, int(row), int(col), height, width)
    mixed = cutmix.mix(x, partner, box)
    close(mixed, vectors["cutmix_x"])
    own = cutmix.ratio(box, height, width)
    weights = parameters(vectors, "init_p", "init_names")
    weights = {name: value.requires_grad_() for name, value in weights.items()}
    logits, _ = convnet(weights, mixed)
    loss = own * functional.cross_entropy(logits, y) + (1 - own) * functional.cross_entropy(logits, y[partner])
    close(loss, vectors["cutmix_loss"])
    found = torch.autograd.grad(loss, list(weights.values()))
    # The first step of momentum SGD: its velocity is the gradient, weight decay included.
    for i, (value, gradient) in enumerate(zip(weights.values(), found, strict=True)):
        close(value - 0.05 * (gradient + 5e-4 * value), vectors[f"cutmix_p{i:02d}"])


# --- selection


def same_rows(ours: Tensor, theirs: np.ndarray, apart: Tensor) -> None:
    """Row numbers are equal, except where two rows are equally far to within rounding.

    Args:
        ours: rows ``[K * n]``, centroid by centroid.
        theirs: the recorded rows.
        apart: distances ``[K, N]``.
    """
    theirs = tensor(theirs)
    assert ours.shape == theirs.shape
    centroid = torch.arange(len(ours)) * len(apart) // len(ours)
    gap = (apart[centroid, ours] - apart[centroid, theirs]).abs()
    assert bool(((ours == theirs) | (gap < TIE)).all())


def alone(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[None], torch.tensor([len(x)])


@files("dream_select")
def test_dream_kmeans_and_picks(path: Path) -> None:
    vectors = load(path)
    features, counts = alone(tensor(vectors["X"]))
    start = tensor(vectors["init_idx"])[None]
    found = kmeans.kmeans(features, counts, start, empty="zero")
    close(found.centroids[0], vectors["centroids"])
    assert found.labels[0].tolist() == vectors["labels"].tolist()
    apart = kmeans.distances(features, found.centroids)[0]
    picks = kmeans.nearest_rows(features, counts, found.centroids, distinct=False)[0]
    same_rows(picks, vectors["pick"], apart)
    smallest = apart.sort(dim=1).values
    close(smallest[:, 1] - smallest[:, 0], vectors["pick_gap"])
    every = kmeans.global_nearest(features, counts, found.centroids, len(vectors["global_pick"]))[0]
    theirs, own = tensor(vectors["global_pick"]), apart.amin(dim=0)
    assert bool(((every == theirs) | ((own[every] - own[theirs]).abs() < TIE)).all())
    for name in [name for name in vectors if re.fullmatch(r"top\d+_pick", name)]:
        case, each = name.removesuffix("_pick"), int(re.fullmatch(r"top(\d+)_pick", name)[1])
        clusters = len(vectors[f"{case}_centroids"])
        found = kmeans.kmeans(features, counts, start[:, :clusters], empty="zero")
        close(found.centroids[0], vectors[f"{case}_centroids"])
        picks = kmeans.nearest_rows(features, counts, found.centroids, each, distinct=False)[0]
        same_rows(picks, vectors[name], kmeans.distances(features, found.centroids)[0])


@files("dream_select")
def test_dream_special_cases(path: Path) -> None:
    vectors = load(path)
    features, counts = alone(tensor(vectors["X"]))
    fixed = tensor(vectors["fixed_centroids"])[None]
    close(kmeans.distances(features, fixed)[0], vectors["fixed_dist"])
    picks = kmeans.nearest_rows(features, counts, fixed, distinct=False)[0]
    same_rows(picks, vectors["fixed_pick"], tensor(vectors["fixed_dist"]))
    found = kmeans.kmeans(features, counts, tensor(vectors["empty_init"])[None], empty="zero")
    close(found.centroids[0], vectors["empty_centroids"])
    assert found.labels[0].tolist() == vectors["empty_labels"].tolist()
    picks = kmeans.nearest_rows(features, counts, found.centroids, distinct=False)[0]
    same_rows(picks, vectors["empty_pick"], kmeans.distances(features, found.centroids)[0])
    rows, counts = alone(tensor(vectors["dup_X"]))
    centroids = tensor(vectors["dup_centroids"])[None]
    picks = kmeans.nearest_rows(rows, counts, centroids, distinct=False)[0]
    assert picks.tolist() == vectors["dup_pick"].tolist()
    assert len(kmeans.nearest_rows(rows, counts, centroids)[0].unique()) == len(picks)


@files("coreset")
def test_coreset_orders(path: Path) -> None:
    vectors = load(path)
    features, labels = tensor(vectors["features"]), tensor(vectors["labels"])
    for label, (herded, centres) in enumerate(
        zip(vectors["herding_order_per_class"], vectors["kcenter_order_per_class_start_first"], strict=True)
    ):
        rows = (labels == label).nonzero()[:, 0]
        assert rows[selection.herding(features[rows], len(herded))].tolist() == herded.tolist()
        assert rows[selection.k_center(features[rows], len(centres), 0)].tolist() == centres.tolist()
    order = vectors["kcenter_order_all_start0"]
    assert selection.k_center(features, len(order), 0).tolist() == order.tolist()


@files("coreset")
def test_forgetting_events(path: Path) -> None:
    vectors = load(path)
    predictions, labels = tensor(vectors["forget_predictions_epoch_by_sample"]), tensor(vectors["forget_labels"])
    events = selection.forgetting_events(predictions, labels)
    assert events.tolist() == vectors["forget_events"].tolist()
    assert events.max() > 0


@files("reference_mmd_and_feature_distance")
def test_mmd_and_feature_distance(path: Path) -> None:
    vectors = load(path)
    x, y = tensor(vectors["X"]), tensor(vectors["Y"])
    close(diversity.feature_distance(y), vectors["feature_distance_eq20_Y"])
    close(diversity.mmd2_linear(x, y), vectors["mmd2_linear"])
    for number, gamma in enumerate(vectors["gamma"].tolist()):
        moved = y.clone().requires_grad_()
        value = diversity.mmd2_gaussian(x, moved, gamma)
        close(value, vectors[f"mmd2_gauss_g{number}"])
        close(torch.autograd.grad(value, moved)[0], vectors[f"mmd2_gauss_g{number}_grad_Y"])
