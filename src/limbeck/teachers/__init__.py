"""Teachers whose training is published, composed by data set."""

from __future__ import annotations

from limbeck.teachers.published import published_teacher as published_teacher
from limbeck.teachers.published import teacher_for as teacher_for
from limbeck.training.teacher import Teacher as Teacher
