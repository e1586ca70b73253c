"""A listing: the captioned videos of a source under canonical columns, whatever form it was published in.

What does not belong here: the forms (`source_forms`), files (`tables`), and which rows a pool takes
(`choice`).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from onaspr_core.errors import UserError
from onaspr_core.folders import is_url
from onaspr_core.pool.scan import VIEW, Table, identifier, literal
from onaspr_core.pool.settings import ColumnSettings, Form

LOCAL_SCHEMES = ("file", "local")
"""What URLs of files on this machine begin with."""

NO_TEXT, NO_TIME = "cast(null as varchar)", "cast(null as double)"


@dataclass(frozen=True)
class Source:
    """What a listing is made of: a form, the path of its table, the folder of its videos, both resolved.

    `schemes` are those of the URLs that its rows may name.
    """

    format: Form
    path: str
    videos: str | None = None
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    licence: str = ""
    schemes: Sequence[str] = ()


@dataclass(frozen=True)
class Canonical:
    """The SQL of each canonical column; an empty one is taken from the column that plays its role.

    `path`, `member`, `start` and `stop` say where the video lies (`Media`), start and stop in seconds.
    `problem` says why the row cannot be used, or null. `names` is all that a takedown list may call it by
    besides id, path and the columns that end in "url".
    """

    id: str = ""
    caption: str = ""
    path: str = ""
    member: str = "''"
    start: str = ""
    stop: str = ""
    problem: str = NO_TEXT
    names: Sequence[str] = ()


@dataclass(frozen=True)
class UnreadableFile:
    """A file of a source that holds items and cannot be read, or not to its end: a row that says why.

    `id` is what to call it among the items.
    """

    id: str
    path: str
    problem: str


@dataclass(frozen=True)
class Listing:
    """A relation over a source, and how its rows are read.

    `canonical` is the SQL of id, caption, path, member, start, stop, licence, extra (JSON of what no other
    holds) and problem. `names` is the SQL of all that a takedown list may call a row by. `values` is the SQL
    of each published column, which a filter may name; `carried` selects what all that SQL needs, and no
    video's bytes. `unfinished` names files that were left out because they are still being written,
    `unreadable` tells of those that cannot be read.
    """

    relation: str
    canonical: Mapping[str, str]
    names: Sequence[str]
    values: Mapping[str, str]
    table: Table
    carried: str = "*"
    unfinished: Sequence[str] = ()
    unreadable: Sequence[UnreadableFile] = ()


@dataclass
class Parts:
    """What the columns of a table say: by the settings' names, else by those of the published form.

    `defaults` is the published name of each role (id, caption, path, start, stop, licence); `required` are
    further columns that the form is recognised by.

    Raises:
        UserError: when one is missing; it names those that there are.
    """

    source: Source
    table: Table
    defaults: Mapping[str, str]
    required: Iterable[str] = ()
    roles: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Check that the columns exist."""
        columns = self.table.columns
        self.roles = {**self.defaults, **self.source.columns.model_dump(exclude_none=True)}
        expected = list(dict.fromkeys([*self.required, *self.roles.values()]))
        missing = [name for name in expected if name not in columns]
        if missing:
            raise UserError(
                f"{self.source.path}: no column {', '.join(missing)}; "
                f"found {', '.join(columns) or 'an empty file'}; expected {', '.join(expected)}"
            )
        named = [name for name in columns if name.lower() in ("licence", "license")]
        if named:
            self.roles.setdefault("licence", named[0])

    def text(self, role: str) -> str:
        """The SQL of a role's column as text; empty where no column plays it.

        Raises:
            UserError: when the column holds bytes.
        """
        if role not in self.roles:
            return ""
        name = self.roles[role]
        if "BLOB" in self.table.columns[name]:
            raise UserError(f"{self.source.path}: the column {name} is no {role}: it holds bytes")
        # A column that is text already is left alone: a cast of ten million ids takes its time.
        is_text = self.table.columns[name] == "VARCHAR"
        return identifier(name) if is_text else f"cast({identifier(name)} as varchar)"

    def path(self) -> str:
        """The SQL of the path that a column names; empty where none does."""
        return self.below(self.text("path")) if "path" in self.roles else ""

    def below(self, path: str) -> str:
        """The SQL of a path below the folder of videos; a URL stays what it is.

        Without such a folder a full path stays too, and others start from the folder of the table.
        """
        stays = f"contains({path}, '://')"
        root = self._root()
        if self.source.videos is None:
            stays += f" or starts_with({path}, '/')"
        if is_url(root):
            joined = f"{literal(root.rstrip('/') + '/')} || {path}"
        else:
            joined = f"{literal(os.path.normpath(root).rstrip('/') + '/')} || {path}"
            joined = f"regexp_replace({joined}, '/(\\.?/)+', '/', 'g')"
        return f"case when {stays} then {path} else {joined} end"

    def _root(self) -> str:
        """The folder of videos, or else of the table."""
        return self.source.videos or self.table.files[0].rpartition("/")[0]

    def listing(
        self, told: Canonical, values: Mapping[str, str] | None = None, relation: str = ""
    ) -> Listing:
        """The listing whose canonical columns are what is told, or else what plays their roles.

        `values` is the SQL of the published columns where it is not their name, `relation` that of the rows
        where it is not the table.
        """
        kinds = self.table.columns
        values = values or {name: identifier(name) for name in kinds if "BLOB" not in kinds[name]}
        licence = self.text("licence") or NO_TEXT
        start, stop = (self._time(role, sql) for role, sql in (("start", told.start), ("stop", told.stop)))
        id_ = told.id or self.text("id")
        problems = (told.problem, _span_problem(start, stop), self._no_url(told.path))
        urls = [f"cast({sql} as varchar)" for name, sql in values.items() if name.lower().endswith("url")]
        return Listing(
            relation=relation or VIEW,
            canonical={
                "id": id_,
                "caption": f"coalesce({told.caption or self.text('caption')}, '')",
                "path": told.path,
                "member": told.member,
                "start": start,
                "stop": stop,
                "licence": f"coalesce({licence}, {literal(self.source.licence)})",
                "extra": self._extra(values),
                "problem": f"coalesce({', '.join(problems)})",
            },
            names=list(dict.fromkeys([id_, told.path, *told.names, *urls])),
            values=values,
            table=self.table,
            carried=self._carried(),
        )

    def _no_url(self, path: str) -> str:
        """The SQL of why a row's URL is not opened; what the settings name themselves is."""
        own = [*self.table.files, f"{self._root().rstrip('/')}/"]
        mine = [f"starts_with({path}, {literal(one)})" for one in own if is_url(one)]
        allowed = f"list_contains({literal([one.lower() for one in self.source.schemes])}, {_scheme(path)})"
        return f"""case
            when not contains({path}, '://') or {" or ".join([*mine, "false"])} then null
            when contains({path}, '::') then 'its URL is a chain of several'
            when not {allowed} then 'the scheme of its URL is not among those of the pool: ' || {path}
            when {self._leads_out(path)} then {leads_out(path)} end"""

    def _leads_out(self, path: str) -> str:
        """The SQL of whether a URL names a file of this machine that does not lie in the folder of videos."""
        scheme, _, rest = self._root().rpartition("://")
        here = f"list_contains({literal(LOCAL_SCHEMES)}, {_scheme(path)})"
        if scheme and scheme.lower() not in LOCAL_SCHEMES:
            return here
        folder = os.path.normpath(rest).rstrip("/") + "/"
        return f"({here} and not starts_with(regexp_replace({path}, '^[^:]*://', ''), {literal(folder)}))"

    def _time(self, role: str, told: str) -> str:
        return told or (f"seconds({self.text(role)})" if role in self.roles else NO_TIME)

    def _carried(self) -> str:
        bytes_ = [name for name, kind in self.table.columns.items() if "BLOB" in kind]
        return f"* exclude ({', '.join(map(identifier, bytes_))})" if bytes_ else "*"

    def _extra(self, values: Mapping[str, str]) -> str:
        used = {name for role, name in self.roles.items() if role != "licence"}
        fields = ", ".join(f"{identifier(name)} := {sql}" for name, sql in values.items() if name not in used)
        return f"cast(to_json(struct_pack({fields})) as varchar)" if fields else "'{}'"


def leads_out(path: str) -> str:
    """Return the SQL of the reason for a path that leads out of the folder of videos."""
    return f"'the path ' || {path} || ' leads out of the folder of videos'"


def _scheme(path: str) -> str:
    return f"lower(regexp_extract({path}, '^([A-Za-z][A-Za-z0-9+.-]*)://', 1))"


def _span_problem(start: str, stop: str) -> str:
    asked = [time for time in (start, stop) if time != NO_TIME]
    if not asked:
        return NO_TEXT
    right = [f"{time} is not null" for time in asked] + ([f"{start} < {stop}"] if len(asked) == 2 else [])
    return f"case when {' and '.join(right)} then null else 'its start and stop are no span of a video' end"
