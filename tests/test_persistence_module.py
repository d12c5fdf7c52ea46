"""Invariant 3 of the journal: an application written with the library's DCB classes runs on it unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from eventsourcing.dcb.application import DCBApplication
from eventsourcing.dcb.domain import EnduringObject, Group, Selector, Slice, Tagged
from eventsourcing.dcb.msgpack import Decision, InitialDecision
from eventsourcing.dcb.persistence import NotFoundError
from eventsourcing.domain import event
from eventsourcing.persistence import IntegrityError
from eventsourcing.utils import get_topic
from pydantic import ValidationError

from tests.books import assert_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ledger.database import Database

PLACES = 2


class CourseFull(Exception):
    """No place is left."""


class StudentJoined(Decision):
    student_id: str
    course_id: str


class StudentLeft(Decision):
    student_id: str
    course_id: str


class CourseRenamed(Decision):
    name: str


class Course(EnduringObject[Decision]):
    class Registered(InitialDecision):  # noqa: D106  its name is its sentence
        course_id: str
        name: str
        places: int

    def __init__(self, *, name: str, places: int) -> None:
        self.name = name
        self.places = places
        self.students: list[str] = []

    @event(CourseRenamed)
    def rename(self, name: str) -> None:
        self.name = name

    @event(StudentJoined)
    def _(self, student_id: str) -> None:
        self.students.append(student_id)


class Student(EnduringObject[Decision]):
    class Registered(InitialDecision):  # noqa: D106  its name is its sentence
        student_id: str
        name: str

    def __init__(self, *, name: str) -> None:
        self.name = name
        self.courses: list[str] = []

    @event(StudentJoined)
    def _(self, course_id: str) -> None:
        self.courses.append(course_id)


class StudentAndCourse(Group[Decision]):
    def __init__(self, student: Student, course: Course) -> None:
        self.student = student
        self.course = course

    def join(self) -> None:
        if len(self.course.students) >= self.course.places:
            raise CourseFull
        self.trigger_event(StudentJoined, student_id=self.student.id, course_id=self.course.id)


class LeaveCourse(Slice[Decision]):
    """One command with its own boundary: what joins and leaves are there of this student and course."""

    def __init__(self, student_id: str, course_id: str) -> None:
        self.student_id = student_id
        self.course_id = course_id
        self.has_joined = False

    def consistency_boundary(self) -> Selector:
        return Selector(types=[StudentJoined, StudentLeft], tags=[self.student_id, self.course_id])

    @event(StudentJoined)
    def _(self) -> None:
        self.has_joined = True

    @event(StudentLeft)
    def _(self) -> None:
        self.has_joined = False

    def execute(self) -> None:
        if self.has_joined:
            self.trigger_event(
                StudentLeft,
                tags=[self.student_id, self.course_id],
                student_id=self.student_id,
                course_id=self.course_id,
            )


class Enrolment(DCBApplication):
    """As the library's manual writes them: nothing in it knows which persistence module it runs on."""

    env: Mapping[str, str] = {"MAPPER_TOPIC": "eventsourcing.dcb.msgpack:MessagePackMapper"}

    def add(self, made: EnduringObject[Decision]) -> str:
        self.repository.save(made)
        return made.id

    def join(self, student_id: str, course_id: str) -> None:
        group = self.repository.get_group(StudentAndCourse, student_id, course_id)
        group.join()
        self.repository.save(group)

    def course(self, course_id: str) -> Course:
        found = self.repository.get(course_id)
        assert isinstance(found, Course)
        return found

    def stored(self) -> list[tuple[int, str, list[str], Any]]:
        return [(e.position, e.event.type, e.event.tags, e.event.data) for e in self.recorder.read()]


@pytest.fixture
def on_ours(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Enrolment]:
    """Named by the environment alone, as an operator would."""
    monkeypatch.setenv("PERSISTENCE_MODULE", "ledger.journal")
    monkeypatch.setenv("LEDGER_DATABASE_URL", database.url)
    monkeypatch.setenv("LEDGER_POOL_SIZE", "3")
    with Enrolment() as running:
        yield running


@pytest.fixture
def on_theirs() -> Iterator[Enrolment]:
    with Enrolment(env={"PERSISTENCE_MODULE": "eventsourcing.dcb.popo"}) as running:
        yield running


def a_term(app: Enrolment) -> dict[str, Any]:
    """Use every class of the library's: objects, groups, slices, several at once, refusals and conflicts."""
    seen: dict[str, Any] = {}
    course = app.add(Course(name="数学", places=PLACES))
    students = [app.add(Student(name=f"student {n}")) for n in range(3)]
    ids = {course: "course", **{student: f"student-{n}" for n, student in enumerate(students)}}
    for student in students[:PLACES]:
        app.join(student, course)
    with pytest.raises(CourseFull):
        app.join(students[2], course)
    with pytest.raises(NotFoundError):
        app.repository.get("course-of-nobody")
    stale, fresh = app.course(course), app.course(course)
    fresh.rename(name="物理")
    app.repository.save(fresh)
    stale.rename(name="lost")
    with pytest.raises(IntegrityError):
        app.repository.save(stale)
    for student in (students[0], students[0], students[2]):
        app.do(LeaveCourse(student, course))
    known = app.course(course)
    seen["course"] = (known.name, [ids[student] for student in known.students], known.last_known_position)
    many = app.repository.get_many(*students, "nobody")
    seen["students"] = [(found.name, len(found.courses)) if isinstance(found, Student) else found for found in many]
    seen["stored"] = [
        (position, type_name, [ids[tag] for tag in tags]) for position, type_name, tags, _ in app.stored()
    ]
    return seen


def test_the_same_application_gives_the_same_results(
    on_ours: Enrolment, on_theirs: Enrolment, database: Database
) -> None:
    results = a_term(on_ours)
    assert results == a_term(on_theirs)
    assert results["course"] == ("物理", ["student-0", "student-1"], 8)
    assert results["students"] == [("student 0", 1), ("student 1", 1), ("student 2", 0), None]
    assert [line[1] for line in results["stored"]].count(get_topic(StudentLeft)) == 1
    assert_whole(database)


def test_what_it_wrote_is_there_when_it_opens_again(on_ours: Enrolment) -> None:
    course = on_ours.add(Course(name="数学", places=PLACES))
    before = on_ours.stored()
    on_ours.close()
    with Enrolment() as again:
        assert again.course(course).name == "数学"
        assert again.stored() == before


def test_its_subscription_follows_the_journal(on_ours: Enrolment) -> None:
    with on_ours.recorder.subscribe() as subscription:
        on_ours.add(Course(name="数学", places=PLACES))
        assert next(subscription).event.type == get_topic(Course.Registered)


def test_a_setting_of_the_application_alone_counts_before_the_common_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's rule: ENROLMENT_X stands before X."""
    monkeypatch.setenv("ENROLMENT_LEDGER_DATABASE_URL", database.url)
    monkeypatch.setenv("LEDGER_DATABASE_URL", "postgresql://nobody@/nowhere?host=/nonexistent")
    with Enrolment(env={"PERSISTENCE_MODULE": "ledger.journal"}) as app:
        assert app.stored() == []


def test_a_wrong_setting_is_an_error_and_not_a_default(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"PERSISTENCE_MODULE": "ledger.journal", "LEDGER_DATABASE_URL": database.url, "LEDGER_POOL_SIZE": "0"}
    with pytest.raises(ValidationError, match="pool_size"):
        Enrolment(env=given)
    monkeypatch.setenv("LEDGER_POOLSIZE", "3")
    with pytest.raises(ValidationError, match="LEDGER_POOLSIZE"):
        Enrolment(env=given | {"LEDGER_POOL_SIZE": "3"})


def test_the_journal_takes_raw_tagged_decisions_too(on_ours: Enrolment) -> None:
    """Without any object: events and tags, read back by type and tag."""
    on_ours.events.append([Tagged(tags=["course-1"], decision=CourseRenamed(name="化学"))])
    found = list(on_ours.events.read(Selector(types=[CourseRenamed], tags=["course-1"])))
    assert [tagged.decision for tagged in found] == [CourseRenamed(name="化学")]
