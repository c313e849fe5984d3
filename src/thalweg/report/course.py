"""The course's questions, in its order, and which experiment answers each."""

from __future__ import annotations

import dataclasses

__all__ = ["BEYOND", "COURSE", "FURTHER", "Chapter", "Question", "experiments"]


@dataclasses.dataclass(frozen=True)
class Question:
    """One question of the exercise.

    Attributes:
        number: ``1-2-3`` is the third question of chapter 1-2.
        experiment: Which experiment answers it.
        title: The question as a heading.
        text: What the exercise asks for.
    """

    number: str
    experiment: str
    title: str
    text: str

    @property
    def command(self) -> str:
        """What answers it."""
        return f"thalweg run {self.experiment}"


@dataclasses.dataclass(frozen=True)
class Chapter:
    """One part of the exercise: number, title, questions."""

    number: str
    title: str
    questions: tuple[Question, ...]

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"{self.number} {self.title}".strip()


COURSE = (
    Chapter(
        "1-1",
        "Deep against shallow",
        (
            Question(
                "1-1-1",
                "function-fit",
                "Simulate a function",
                "Networks of equal numbers of parameters and different depth learn the same functions: the training "
                "loss of all models in one figure, and what they predict beside the truth. Which fits best?",
            ),
            Question(
                "1-1-2",
                "image-fit",
                "Train on an actual task",
                "The same on real images: loss and accuracy of all models, each in one figure. Does depth help here?",
            ),
        ),
    ),
    Chapter(
        "1-2",
        "Optimisation",
        (
            Question(
                "1-2-1",
                "trajectory",
                "Visualise the optimisation process",
                "The weights of eight trainings, recorded every few epochs and projected to two dimensions: one layer "
                "and the whole model.",
            ),
            Question(
                "1-2-2",
                "gradient-norm",
                "Observe the gradient norm during training",
                "The norm of the gradient and the loss at every iteration, in one figure.",
            ),
            Question(
                "1-2-3",
                "zero-gradient",
                "What happens when the gradient is almost zero?",
                "Weights at which the gradient vanishes, how they are found, and their minimal ratio against the loss.",
            ),
            Question(
                "1-2-4",
                "error-surface",
                "The error surface (bonus)",
                "The loss around the path of training, as a surface.",
            ),
        ),
    ),
    Chapter(
        "1-3",
        "Generalisation",
        (
            Question(
                "1-3-1",
                "random-labels",
                "Can a network fit random labels?",
                "Training and test loss against epochs where the labels of the training set are shuffled.",
            ),
            Question(
                "1-3-2",
                "capacity",
                "Number of parameters against generalisation",
                "At least ten networks of different size on the same data: loss and accuracy of training and test.",
            ),
            Question(
                "1-3-3",
                "interpolation",
                "Flatness, part 1: between two solutions",
                "Two recipes of training; loss and accuracy on the straight line through the two solutions.",
            ),
            Question(
                "1-3-4",
                "sensitivity",
                "Flatness, part 2: sensitivity",
                "Several trainings that differ in one setting, such as the batch size: loss, accuracy and how strongly "
                "the output depends on the input.",
            ),
            Question(
                "1-3-5",
                "sharpness",
                "Sharpness (bonus)",
                "Other measures of flatness over the same trainings. Do they go with generalisation?",
            ),
        ),
    ),
)
"""The exercise: chapters with their questions."""

BEYOND = "Beyond the course"
"""Heading of what no question of the exercise asks for."""


FURTHER = ("edge-of-stability", "spectrum")
"""The experiments beyond the course that `thalweg course` runs as well, after its own."""


def experiments() -> tuple[str, ...]:
    """The experiments that answer the course's questions, in its order.

    >>> experiments()[:3]
    ('function-fit', 'image-fit', 'trajectory')
    """
    return tuple(question.experiment for chapter in COURSE for question in chapter.questions)
