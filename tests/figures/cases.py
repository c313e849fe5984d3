"""Figures as data: every mark, and the figures that the experiments need."""

from __future__ import annotations

import numpy as np

from thalweg.figures import (
    Arrows,
    Axis,
    Band,
    Bars,
    ColourScale,
    Contour,
    Detail,
    ErrorBars,
    Figure,
    Heatmap,
    Histogram,
    HLine,
    Inset,
    Line,
    Lines,
    Panel,
    Path3D,
    Scatter,
    Scatter3D,
    Span,
    Surface3D,
    Text,
    VLine,
)

LOSS = ColourScale("loss", scale="log")


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _decay(rate: float, floor: float, count: int = 400) -> np.ndarray:
    noise = np.exp(0.15 * _rng().standard_normal((5, count)).cumsum(axis=1) / np.sqrt(np.arange(1, count + 1)))
    return (np.exp(-rate * np.arange(count)) + floor) * noise


def _bowl(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Asymmetric on purpose, so that swapped axes show."""
    gx, gy = np.meshgrid(x, y)
    return (1 - gx) ** 2 + 20 * (gy - gx**2) ** 2 + 0.01


def training_loss() -> Figure:
    """Three models in one chart, median and spread, on a log axis."""
    epochs = np.arange(400)
    marks = []
    for name, rate, floor in (
        ("1-5-10-10-1, deep", 0.03, 1e-4),
        ("1-10-18-1, middle", 0.02, 1e-3),
        ("1-190-1", 0.01, 5e-2),
    ):
        runs = _decay(rate, floor)
        marks += [Band(epochs, runs.min(0), runs.max(0), group=name), Line(epochs, np.median(runs, 0), label=name)]
    marks += [VLine(250, "learning rate ÷ 10"), HLine(0.087, "variance of the target")]
    panel = Panel(Axis("epoch"), Axis("training loss", "MSE", "log"), tuple(marks))
    caption = "Training loss of three networks of equal size; median and range over 5 seeds."
    return Figure("training-loss", "Do deep networks fit better?", caption, (panel,))


def predictions() -> Figure:
    """Truth and predictions of two functions."""
    x = np.linspace(0, 1, 300)
    panels = []
    for title, truth in (("sin(5πx)/(5πx)", np.sinc(5 * x)), ("sgn(sin 5πx)", np.sign(np.sin(5 * np.pi * x)))):
        smooth = np.convolve(np.pad(truth, 15, mode="edge"), np.ones(31) / 31, mode="valid")
        marks = (Line(x, truth, label="truth", colour="ink", width=2.5, opacity=0.4), Line(x, smooth, label="deep"))
        panels.append(
            Panel(
                Axis("x"), Axis("f(x)"), (*marks, Line(x, 0.3 - 0.4 * x, label="shallow", style="dashed")), title=title
            )
        )
    return Figure("predictions", "Truth and predictions", "Two targets.", tuple(panels), share_y=True)


def twin_axes() -> Figure:
    """Loss (log) and accuracy of the points between two solutions."""
    alpha = np.linspace(-1, 2, 61)
    loss = 0.02 + 3 * (alpha * (1 - alpha)) ** 2 + 0.5 * np.maximum(0, np.abs(alpha - 0.5) - 0.5) ** 2
    accuracy = 1 / (1 + loss)
    marks = (
        Line(alpha, loss, label="train loss"),
        Line(alpha, 1.3 * loss + 0.05, label="test loss", group="train loss", style="dashed"),
        Line(alpha, accuracy, label="train accuracy", side="right"),
        Line(alpha, 0.95 * accuracy, label="test accuracy", group="train accuracy", side="right", style="dashed"),
        VLine(0, "batch 64"),
        VLine(1, "batch 1024"),
    )
    x = Axis("interpolation α")
    panel = Panel(x, Axis("cross-entropy", "nats", "log"), marks, right=Axis("accuracy", limits=(0, 1)))
    return Figure("interpolation", "Between two solutions", "θ(α) = (1 − α) θ₁ + α θ₂.", (panel,))


def shared_x() -> Figure:
    """Gradient norm and loss over one x axis, with phases."""
    steps = np.arange(2000)
    loss, norm = _decay(0.004, 1e-3, 2000)[0], _decay(0.002, 1e-2, 2000)[1]
    phase = Span(1200, 2000, text="gradient-norm phase", colour=1)
    top = Panel(Axis("iteration"), Axis("loss", "", "log"), (phase, Line(steps, loss, label="loss")))
    bottom = Panel(
        Axis("iteration"), Axis("‖∇L‖₂", "", "log"), (phase.replace(text=""), Line(steps, norm, label="gradient norm"))
    )
    return Figure("gradient-norm", "Gradient norm and loss", "Full-batch gradient.", (top, bottom), share_x=True)


def _walks(count: int = 8, length: int = 12) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray]:
    steps = _rng().standard_normal((count, length, 2)) * 0.25
    angle = 2 * np.pi * np.arange(count) / count
    drift = np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None] * np.sqrt(np.arange(length))[None, :, None]
    path = np.cumsum(steps, axis=1) + 3 * drift
    names = tuple(f"run {r}" for r in range(count) for _ in range(length))
    accuracy = np.tile(1 - 0.9 * np.exp(-0.4 * np.arange(length)), count)
    return path[..., 0].ravel(), path[..., 1].ravel(), names, accuracy


def trajectories() -> Figure:
    """Eight runs in one picture, labelled with accuracy, by two methods for one layer and the whole model."""
    x, y, names, accuracy = _walks()
    labels = tuple(f"{100 * a:.0f} %" if i % 12 in (0, 4, 11) else "" for i, a in enumerate(accuracy))
    panels = []
    for what in ("first layer", "whole model"):
        for method in ("PCA", "t-SNE"):
            mark = Scatter(
                x, y, categories=names, texts=labels, joined=True, hover=tuple(f"accuracy {a:.3f}" for a in accuracy)
            )
            axes = (
                (Axis("component 1", "41 % of variance"), Axis("component 2", "17 %"))
                if method == "PCA"
                else (Axis("t-SNE 1"), Axis("t-SNE 2"))
            )
            panels.append(Panel(*axes, (mark,), title=f"{what}, {method}"))
    return Figure("trajectory", "The path of training, 8 runs", "Weights every 3 epochs.", tuple(panels))


def trajectory_3d() -> Figure:
    """Rotatable paths."""
    marks = []
    t = np.linspace(0, 1, 40)
    for run in range(4):
        path = (t * np.cos(run + 3 * t), t * np.sin(run + 3 * t), t**2 * (run - 1.5))
        marks += [Path3D(*path, label=f"run {run}"), Scatter3D(*(p[::8] for p in path), group=f"run {run}", size=5.0)]
    marks.append(Scatter3D([0], [0], [0], label="start", colour="ink", symbol="star", size=9.0, texts=("start",)))
    panel = Panel(Axis("PC 1", "41 %"), Axis("PC 2", "17 %"), tuple(marks), z=Axis("PC 3", "9 %"))
    return Figure("trajectory-3d", "Three components", "Four runs.", (panel,))


def minimal_ratio() -> Figure:
    """Dots by status with error bars and details behind a click."""
    rng = _rng()
    ratio, loss = rng.uniform(0.2, 1, 60), 10 ** rng.uniform(-6, -1, 60)
    status = tuple(rng.choice(["minimum", "saddle", "gradient-flat", "descending"], 60))
    spread = rng.uniform(0, 0.15, 60)
    facts = (("‖g‖₂", "1.2e-14"), ("index", "0"), ("undecided", "2 of 33"))
    spectrum = Panel(
        Axis("eigenvalue", "", "symlog", within=1e-6), Axis("count"), (Histogram([-1e-3, 0, 1e-3, 1], [1, 4, 9]),)
    )
    detail = Detail("point 0", "Point 0: minimum", facts, Figure("point-0", "Spectrum of point 0", "", (spectrum,)))
    marks = (
        ErrorBars(loss, ratio, ratio - spread, np.minimum(1, ratio + spread), colour="muted", opacity=0.5),
        Scatter(
            loss,
            ratio,
            categories=status,
            keys=("point 0", *[""] * 59),
            hover=tuple(f"point {i}\n‖g‖ 1e-12" for i in range(60)),
            size=6.0,
        ),
    )
    panel = Panel(Axis("loss", "", "log"), Axis("minimal ratio"), marks)
    return Figure("minimal-ratio", "Minimal ratio against loss", "One dot per point.", (panel,), details=(detail,))


def radius() -> Figure:
    """Joined error bars over a log axis: the neighbour ratio as a function of the radius."""
    radii, rate = np.geomspace(1e-6, 1, 13), np.linspace(0.5, 1, 13)
    marks = (
        ErrorBars(
            radii, rate, rate - 0.05, np.minimum(1, rate + 0.04), label="isotropic", symbol="circle", joined=True
        ),
        ErrorBars(
            radii,
            rate**2,
            rate**2 - 0.05,
            rate**2 + 0.03,
            label="relative to each weight",
            symbol="square",
            joined=True,
        ),
        HLine(0.5, "half of the neighbours are higher"),
    )
    panel = Panel(Axis("radius σ", "", "log"), Axis("share of higher neighbours", limits=(0, 1.05)), marks)
    return Figure("radius", "Neighbours that are higher", "Wilson intervals, 95 %.", (panel,))


def spectrum() -> Figure:
    """A histogram on a symlog axis with its zero band, and a density with a confidence band."""
    rng = _rng()
    eigenvalues = np.concatenate(
        [rng.normal(0, 1e-6, 300), 10 ** rng.uniform(-4, 1, 60), -(10 ** rng.uniform(-4, -2, 8))]
    )
    edges = np.concatenate([-np.geomspace(10, 1e-6, 22), np.geomspace(1e-6, 10, 22)])
    counts, _ = np.histogram(eigenvalues, edges)
    symlog = Axis("eigenvalue of H", "", "symlog", within=1e-5)
    left = Panel(
        symlog,
        Axis("count"),
        (Span(-1e-5, 1e-5, text="zero band", label="zero band"), Histogram(edges, counts, label="exact")),
    )
    t = np.linspace(-1, 4, 400)
    density = np.exp(-0.5 * (t / 0.3) ** 2) + 0.05 * np.exp(-0.5 * ((t - 3) / 0.2) ** 2) + 1e-4
    band = Band(t, density * 0.7, density * 1.4, label="95 % over probes", group="density")
    right = Panel(
        Axis("eigenvalue of H"),
        Axis("density", "", "log"),
        (band, Line(t, density, label="Lanczos quadrature", group="density")),
    )
    return Figure("spectrum", "Eigenvalue spectrum", "Exact and estimated.", (left, right), legend="panel")


def fan() -> Figure:
    """Each parameter perturbed alone, with a close-up near zero."""
    offsets = np.linspace(-1, 1, 81)
    curvature = _rng().uniform(0, 6, 45)
    losses = 0.02 + curvature[:, None] * offsets**2 * (1 + 0.4 * offsets)
    mark = Lines(
        offsets, losses, np.arange(45), scale=ColourScale("parameter"), names=tuple(f"parameter {k}" for k in range(45))
    )
    inset = Inset((-0.1, 0.1), corner="upper left", title="near zero", size=(0.36, 0.4))
    panel = Panel(Axis("offset of one parameter"), Axis("loss"), (mark,), inset=inset)
    return Figure("fan", "Each parameter alone", "One curve per parameter.", (panel,))


def replicas() -> Figure:
    """Many unnamed curves of one colour."""
    curves = _decay(0.01, 1e-3)
    panel = Panel(
        Axis("epoch"), Axis("loss", scale="log"), (Lines(np.arange(400), curves, label="100 replicas", colour="muted"),)
    )
    return Figure("replicas", "All replicas", "", (panel,))


def contour() -> Figure:
    """A plane through the trajectory: filled levels, path, and a heat map of the same field with an empty corner."""
    x, y = np.linspace(-1.5, 1.6, 41), np.linspace(-0.6, 2.2, 31)
    z = _bowl(x, y)
    t = np.linspace(0, 1, 20)
    px, py = -1.2 + 2.2 * t, (-1.2 + 2.2 * t) ** 2 + 0.25 * (1 - t)
    path = (
        Line(px, py, label="path of training", colour="accent"),
        Scatter([px[0], px[-1]], [py[0], py[-1]], colour="accent", texts=("start", "end")),
    )
    holes = z.copy()
    holes[:6, :6], holes[-4:, -4:] = np.nan, np.inf
    axes = (Axis("PC 1", "62 % of variance"), Axis("PC 2", "21 %"))
    filled = Panel(*axes, (Contour(x, y, z, scale=LOSS, filled=True), *path), title="levels")
    heat = Panel(
        *axes,
        (
            Heatmap(x, y, holes, scale=LOSS),
            Contour(x, y, z, levels=[0.1, 1, 10], colour="ink", label="level lines"),
            path[0],
        ),
        title="heat map",
    )
    return Figure("plane", "The surface around the path", "Off-plane error in the text.", (filled, heat))


def contour_lines() -> Figure:
    """Coloured level lines without areas, on a power scale."""
    x, y = np.linspace(-1.5, 1.6, 41), np.linspace(-0.6, 2.2, 31)
    mark = Contour(x, y, _bowl(x, y), scale=ColourScale("loss", scale="power", power=0.3, palette="cividis"), count=14)
    panel = Panel(Axis("direction 1"), Axis("direction 2"), (mark, Text(1, 1, "minimum", offset=(5, 0))), equal=True)
    return Figure("levels", "Level lines", "Filter-normalised directions.", (panel,))


def surface() -> Figure:
    """A rotatable surface with the path in its valley, heights on a log scale."""
    x, y = np.linspace(-1.5, 1.6, 51), np.linspace(-0.6, 2.2, 45)
    z = _bowl(x, y)
    t = np.linspace(0, 1, 30)
    px = -1.2 + 2.2 * t
    py = px**2 + 0.02
    pz = (1 - px) ** 2 + 20 * (py - px**2) ** 2 + 0.01
    marks = (
        Surface3D(x, y, z, scale=LOSS, floor=True),
        Path3D(px, py, pz, label="path", colour="accent", symbol="circle"),
    )
    panel = Panel(Axis("direction 1"), Axis("direction 2"), marks, z=Axis("loss", "", "log"))
    return Figure("surface", "The surface", "Heights are logarithmic.", (panel,))


def path_by_value() -> Figure:
    """A 3-D path coloured along its way, points by value."""
    t = np.linspace(0, 6, 80)
    path = Path3D(np.cos(t), np.sin(t), t, np.exp(-t), scale=LOSS, width=2.5)
    points = Scatter3D(np.cos(t[::10]), np.sin(t[::10]), t[::10], values=np.exp(-t[::10]), scale=LOSS, size=6.0)
    panel = Panel(Axis("PC 1"), Axis("PC 2"), (path, points), z=Axis("PC 3"))
    return Figure("path-3d", "A path by loss", "", (panel,))


def scatter_values() -> Figure:
    """Points of an embedding, coloured by loss, symbols by kind; one is NaN."""
    rng = _rng()
    x, y = rng.standard_normal((2, 80))
    values = 10 ** (x - 2)
    values[3] = np.nan
    kinds = tuple("visited" if i % 4 == 0 else "sampled neighbour" for i in range(80))
    panel = Panel(
        Axis("t-SNE 1"),
        Axis("t-SNE 2"),
        (Scatter(x, y, values=values, scale=LOSS, markers=kinds, size=6.0),),
        equal=True,
    )
    return Figure("error-surface", "Weights visited, by loss", "", (panel,))


def capacity() -> Figure:
    """Test and train against the number of parameters, with the interpolation threshold."""
    count = np.geomspace(100, 1e6, 25)
    peak = 0.15 + 0.5 * np.exp(-((np.log10(count / 9e3)) ** 2) / 0.1)
    marks = (
        Line(count, 0.6 / (1 + (count / 3e3) ** 1.5), label="train", symbol="circle"),
        Line(count, peak, label="test", symbol="square"),
        VLine(1e4, "interpolation threshold"),
    )
    panel = Panel(Axis("parameters", "", "log"), Axis("error"), marks)
    return Figure("capacity", "Parameters against generalisation", "", (panel,))


def bars() -> Figure:
    """Two groups of bars with intervals; and names along y."""
    names = ("relu", "tanh", "gelu")
    up = (
        Bars(names, [0.9, 0.7, 0.8], [0.85, 0.6, 0.75], [0.95, 0.8, 0.85], label="deep"),
        Bars(names, [0.5, 0.6, 0.4], label="shallow"),
    )
    long = ("ε-sharpness (Keskar et al. 2017)", "λmax", "trace of H", "sensitivity")
    side = Bars(long, [0.3, -0.2, 0.5, 0.7], [0.1, -0.4, 0.3, 0.6], [0.5, 0.0, 0.7, 0.8], horizontal=True)
    panels = (
        Panel(Axis("activation"), Axis("accuracy"), up),
        Panel(Axis("Kendall τ with the gap"), Axis(), (side, VLine(0, style="solid"))),
    )
    return Figure("bars", "Bars", "95 % bootstrap intervals.", panels)


def intervals() -> Figure:
    """Horizontal intervals at named places."""
    marks = (
        ErrorBars([0.3, -0.2, 0.5], [0, 1, 2], left=[0.1, -0.4, 0.3], right=[0.5, 0.0, 0.7], symbol="circle"),
        VLine(0, style="solid"),
    )
    y = Axis(ticks=((0, "λmax"), (1, "trace"), (2, "sensitivity")), limits=(-0.6, 2.6))
    return Figure("intervals", "Rank correlation", "", (Panel(Axis("Kendall τ"), y, marks),), size=(6.0, 2.6))


def matrix() -> Figure:
    """Signed numbers with words in the cells."""
    z = np.array([[1.0, -0.4, 0.1], [-0.4, 1.0, 0.6], [0.1, 0.6, 1.0]])
    ticks = tuple((float(i), name) for i, name in enumerate(("gap", "λmax", "trace")))
    mark = Heatmap(
        range(3),
        range(3),
        z,
        scale=ColourScale("Kendall τ", palette="diverging"),
        texts=[[f"{v:+.1f}" for v in row] for row in z],
    )
    panel = Panel(Axis(ticks=ticks), Axis(ticks=ticks), (mark,), equal=True)
    return Figure("matrix", "Correlations", "", (panel,))


def graph() -> Figure:
    """Which saddle leads to which minimum."""
    x, y = np.array([0.0, 1, 2, 0.5, 1.5, 1.0]), np.array([1e-3, 2e-3, 1.5e-3, 1e-2, 2e-2, 1e-1])
    links = np.array([(3, 0), (3, 1), (4, 1), (4, 2), (5, 3), (5, 4)]).T
    marks = (
        Arrows(x[links[0]], y[links[0]], x[links[1]], y[links[1]], colour="muted"),
        Scatter(
            x,
            y,
            categories=("index 0",) * 3 + ("index 1",) * 2 + ("index 2",),
            size=10.0,
            texts=("a", "b", "c", "d", "e", "f"),
        ),
    )
    panel = Panel(Axis("", ticks=((-10.0, ""),), limits=(-0.3, 2.3)), Axis("loss", "", "log"), marks)
    return Figure("graph", "Downhill from every saddle", "", (panel,))


def edge_of_stability() -> Figure:
    """Sharpness against the threshold, steps and words."""
    t = np.arange(300)
    sharpness = np.minimum(2 + 0.5 * t, 40 + 3 * np.sin(t))
    rate = np.where(t < 200, 0.05, 0.025)
    marks = (
        Line(t, sharpness, label="λmax"),
        HLine(40, "2/η", label="threshold"),
        Line(t, rate, label="learning rate η", steps=True, side="right", style="dotted"),
        Text(0.02, 0.95, "η halves at 200", frame="panel", boxed=True),
    )
    panel = Panel(Axis("iteration"), Axis("largest eigenvalue"), marks, right=Axis("learning rate"))
    return Figure("edge-of-stability", "Edge of stability", "", (panel,))


def palette() -> Figure:
    """Twelve categories: colours repeat with other dashes; every symbol."""
    x = np.linspace(0, 1, 20)
    symbols = ("circle", "square", "triangle", "diamond", "cross", "plus", "triangle-down", "star", "", "", "", "")
    marks = tuple(Line(x, x ** (0.3 + 0.25 * k), label=f"category {k}", symbol=symbols[k]) for k in range(12))
    return Figure("palette", "Twelve categories", "", (Panel(Axis("x"), Axis("y"), marks),))


def grid_of_three() -> Figure:
    """Three columns, shared colour bar, a panel without data."""
    x, y, _, accuracy = _walks()
    scatter = Scatter(x, y, values=accuracy, scale=ColourScale("accuracy"))
    panels = tuple(Panel(Axis("PC 1"), Axis("PC 2"), (scatter,), title=f"seed {k}") for k in range(3))
    empty = Panel(Axis("PC 1"), Axis("PC 2"), (Line([], []),), title="no data yet")
    return Figure("three", "Three seeds", "", (*panels, empty), columns=3)


BUILDERS = (
    training_loss,
    predictions,
    twin_axes,
    shared_x,
    trajectories,
    trajectory_3d,
    minimal_ratio,
    radius,
    spectrum,
    fan,
    replicas,
    contour,
    contour_lines,
    surface,
    path_by_value,
    scatter_values,
    capacity,
    bars,
    intervals,
    matrix,
    graph,
    edge_of_stability,
    palette,
    grid_of_three,
)
CASES = {builder.__name__: builder for builder in BUILDERS}
