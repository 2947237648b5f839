"""Reads a program's scopes, bindings and uses of names from its tree: what each kind of node means for them."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from .paths import settle_paths
from .scopes import Binding, Block, NameUse, Program, Scope, Site
from .tree import code_of, dotted, identifier, literal_string
from .walk import Walk

PATH_METHODS = frozenset({"insert", "append", "extend"})
REMOVING_METHODS = frozenset({"pop", "remove", "clear"})


class Reader(Walk):
    """The walk with a handler for each kind of node that binds, uses or scopes names."""

    def __init__(self, module: cst.Module, package: str) -> None:
        super().__init__(module, Scope("module", None), package)
        self.handlers = {
            cst.Name: self.name,
            cst.Attribute: self.value,
            cst.FunctionDef: self.function,
            cst.ClassDef: self.class_,
            cst.Lambda: self.lambda_,
            cst.ListComp: self.comprehension,
            cst.SetComp: self.comprehension,
            cst.GeneratorExp: self.comprehension,
            cst.DictComp: self.comprehension,
            cst.Assign: self.assign,
            cst.AnnAssign: self.annotated,
            cst.AugAssign: self.augmented,
            cst.NamedExpr: self.walrus,
            cst.Import: self.import_,
            cst.ImportFrom: self.import_from,
            cst.Global: self.global_,
            cst.Nonlocal: self.nonlocal_,
            cst.Del: self.delete,
            cst.For: self.for_,
            cst.While: self.while_,
            cst.If: self.if_,
            cst.Try: self.try_,
            cst.TryStar: self.try_,
            cst.With: self.with_,
            cst.Match: self.match,
            cst.MatchAs: self.match_name,
            cst.MatchStar: self.match_name,
            cst.MatchMapping: self.match_mapping,
            # Its key is the name of an attribute.
            cst.MatchKeywordElement: lambda node: self.child(node, node.pattern),
            cst.TypeAlias: self.type_alias,
            cst.FormattedString: self.formatted,
            cst.Call: self.call,
            cst.Arg: self.value,
            cst.SimpleStatementLine: self.statement_line,
            cst.SimpleString: lambda node: None,
            cst.Integer: lambda node: None,
        }
        templated = getattr(cst, "TemplatedString", None)
        if templated is not None:
            self.handlers[templated] = self.formatted

    # -- expressions

    def name(self, node: cst.Name) -> None:
        use = NameUse(node, self.scope, self.site(), self.fstring > 0)
        self.program.uses.setdefault(identifier(node.value), []).append(use)

    def value(self, node: cst.Attribute | cst.Arg) -> None:
        self.child(node, node.value)

    def call(self, node: cst.Call) -> None:
        func = dotted(node.func)
        self.path_call(node, func.rpartition(".")[2])
        strings = [literal_string(arg.value) for arg in node.args[:2]]
        if func == "getattr" and len(strings) == 2 and strings[1]:
            self.program.dynamic.append((node, self.site(), strings[1]))
        elif func.split(".")[-1] in ("import_module", "__import__") and strings and strings[0]:
            self.program.dynamic.append((node, self.site(), strings[0]))
            self.program.imported.append((strings[0], self.site()))
        self.children(node)

    def path_call(self, node: cst.Call, method: str) -> None:
        """`sys.path.insert(0, …)` and `site.addsitedir(…)`, under whatever name."""
        values = [arg.value for arg in node.args]
        if isinstance(node.func, cst.Attribute) and method in PATH_METHODS:
            where = ""
            if method == "insert" and values:
                where, values = code_of(values[0]), values[1:]
                if where == f"len({code_of(node.func.value)})":
                    method = "append"
            self.may_touch_path(node.func.value, values, where == "0", method=method)
        elif isinstance(node.func, cst.Attribute) and method in REMOVING_METHODS:
            self.may_touch_path(node.func.value, [], False, removes=True, method=method)
        elif len(values) == 1 and (method == "addsitedir" or isinstance(node.func, cst.Name)):
            # A name alone may be `addsitedir` itself.
            self.may_touch_path(node.func, values, False)

    def walrus(self, node: cst.NamedExpr) -> None:
        self.child(node, node.value)
        scope = self.scope
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        if isinstance(node.target, cst.Name):
            self.bind(node.target.value, value=node.value, scope=scope)

    def lambda_(self, node: cst.Lambda) -> None:
        parameters = self.defaults(node.params)
        saved = self.block, self.index, self.part, self.scope
        scope = Scope("function", self.scope)
        self.block = scope.root = Block(scope, [], self.block, self.index, node, inline=True)
        self.index = self.part = 0
        self.scope = scope
        for parameter in parameters:
            self.bind(parameter.name.value)
        self.child(node, node.body)
        self.block, self.index, self.part, self.scope = saved

    def defaults(self, params: cst.Parameters) -> list[cst.Param]:
        """All parameters; their defaults are evaluated outside the function."""
        every = [*params.posonly_params, *params.params, *params.kwonly_params]
        every += [item for item in (params.star_arg, params.star_kwarg) if isinstance(item, cst.Param)]
        for param in every:
            self.child(param, param.default)
        return every

    def comprehension(self, node: cst.BaseSimpleComp | cst.DictComp) -> None:
        loop = node.for_in
        self.child(loop, loop.iter)
        scope = Scope("comprehension", self.scope)
        scope.root = self.block
        saved, self.scope = self.scope, scope
        while True:
            self.bind_target(loop.target)
            for condition in loop.ifs:
                self.child(condition, condition.test)
            if loop.inner_for_in is None:
                break
            loop = loop.inner_for_in
            self.child(loop, loop.iter)
        if isinstance(node, cst.DictComp):
            self.child(node, node.key)
            self.child(node, node.value)
        else:
            self.child(node, node.elt)
        self.scope = saved

    def formatted(self, node: cst.FormattedString) -> None:
        self.fstring += 1
        self.children(node)
        self.fstring -= 1

    # -- statements

    def assign(self, node: cst.Assign) -> None:
        self.child(node, node.value)
        for target in node.targets:
            self.bind_target(target.target, node.value)

    def annotated(self, node: cst.AnnAssign) -> None:
        self.child(node, node.value)
        # A bare `x: T` makes the name local without binding it; with no value nothing reaches the use.
        if node.value is not None or self.scope.kind != "module":
            self.bind_target(node.target, node.value)

    def augmented(self, node: cst.AugAssign) -> None:
        self.child(node, node.value)
        if isinstance(node.target, (cst.Name, cst.Attribute)):
            self.may_touch_path(node.target, [node.value], False)
        if isinstance(node.target, cst.Name):
            self.bind_target(node.target)
        else:
            self.visit(node.target)

    def delete(self, node: cst.Del) -> None:
        target = node.target
        parts = [item.value for item in target.elements] if isinstance(target, (cst.Tuple, cst.List)) else [target]
        for part in parts:
            whole = part.value if isinstance(part, cst.Subscript) else part
            if isinstance(part, (cst.Subscript, cst.Attribute)):
                self.may_touch_path(whole, [], False, removes=True)
                self.visit(part)
            else:
                self.bind_target(part)

    def global_(self, node: cst.Global) -> None:
        self.scope.globals.update(identifier(item.name.value) for item in node.names)

    def nonlocal_(self, node: cst.Nonlocal) -> None:
        self.scope.nonlocals.update(identifier(item.name.value) for item in node.names)

    def import_(self, node: cst.Import) -> None:
        for alias in node.names:
            name = dotted(alias.name)
            self.program.imported.append((name, self.site()))
            if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
                self.bind(alias.asname.name.value, imported=name)
            else:
                first = name.split(".")[0]
                self.bind(first, imported=first)
        self.note_import()

    def import_from(self, node: cst.ImportFrom) -> None:
        module = self.absolute(node)
        self.program.imported.append((module, self.site()))
        if isinstance(node.names, cst.ImportStar):
            self.scope.stars.append(Binding("*", self.site(), module))
        else:
            for alias in node.names:
                name = dotted(alias.name)
                bound = dotted(alias.asname.name) if alias.asname is not None else name
                self.program.imported.append((f"{module}.{name}", self.site()))
                self.bind(bound, imported=f"{module}.{name}")
        self.program.from_imports.append((node, module, Site(self.block, self.index, self.part, self.order)))
        if module != "__future__":
            self.note_import()

    def absolute(self, node: cst.ImportFrom) -> str:
        """The module's full name; relative ones are counted from the package of this file."""
        name = dotted(node.module)
        level = len(node.relative)
        if not level:
            return name
        parts = self.package.split(".") if self.package else []
        base = parts[: len(parts) - level + 1] if level <= len(parts) else []
        return ".".join([*base, *([name] if name else [])])

    def function(self, node: cst.FunctionDef) -> None:
        for decorator in node.decorators:
            self.child(decorator, decorator.decorator)
        outer = self.scope
        self.scope = self.type_parameters(node.type_parameters)
        parameters = self.defaults(node.params)
        scope = Scope("function", self.scope)
        self.scope = outer
        self.bind(node.name.value, value=node)
        self.body(node, node.body, "body", scope, parameters)

    def type_parameters(self, node: cst.TypeParameters | None) -> Scope:
        if node is None:
            return self.scope
        scope = Scope("type parameters", self.scope)
        scope.root = self.block
        for param in node.params:
            self.bind(param.param.name.value, scope=scope)
        return scope

    def class_(self, node: cst.ClassDef) -> None:
        for decorator in node.decorators:
            self.child(decorator, decorator.decorator)
        outer, self.scope = self.scope, self.type_parameters(node.type_parameters)
        for item in [*node.bases, *node.keywords]:
            self.child(node, item)
        scope = Scope("class", self.scope)
        self.scope = outer
        self.body(node, node.body, "body", scope)
        self.bind(node.name.value, value=node)

    def for_(self, node: cst.For) -> None:
        self.child(node, node.iter)
        self.bind_target(node.target)
        self.body(node, node.body, "body")
        if node.orelse is not None:
            self.body(node, node.orelse.body, "else")

    def while_(self, node: cst.While) -> None:
        self.child(node, node.test)
        self.body(node, node.body, "body")
        if node.orelse is not None:
            self.body(node, node.orelse.body, "else")

    def if_(self, node: cst.If) -> None:
        branch: cst.If | cst.Else | None = node
        number = 0
        while isinstance(branch, cst.If):
            self.child(node, branch.test)
            self.body(node, branch.body, f"if {number}")
            branch, number = branch.orelse, number + 1
        if branch is not None:
            self.body(node, branch.body, "else")

    def try_(self, node: cst.Try | cst.TryStar) -> None:
        self.body(node, node.body, "try")
        handlers: Sequence[cst.ExceptHandler | cst.ExceptStarHandler] = node.handlers
        for number, handler in enumerate(handlers):
            self.child(handler, handler.type)
            if handler.name is not None:
                self.bind_target(handler.name.name)
            self.body(node, handler.body, f"except {number}")
        if node.orelse is not None:
            self.body(node, node.orelse.body, "else")
        if node.finalbody is not None:
            self.body(node, node.finalbody.body, "finally")

    def with_(self, node: cst.With) -> None:
        for item in node.items:
            self.child(item, item.item)
            if item.asname is not None:
                self.bind_target(item.asname.name)
        self.body(node, node.body, "with")

    def match(self, node: cst.Match) -> None:
        self.child(node, node.subject)
        for number, case in enumerate(node.cases):
            self.child(case, case.pattern)
            self.child(case, case.guard)
            self.body(node, case.body, f"case {number}")

    def match_name(self, node: cst.MatchAs | cst.MatchStar) -> None:
        if isinstance(node, cst.MatchAs):
            self.child(node, node.pattern)
        if node.name is not None:
            self.bind(node.name.value)

    def match_mapping(self, node: cst.MatchMapping) -> None:
        for element in node.elements:
            self.child(node, element)
        if node.rest is not None:
            self.bind(node.rest.value)

    def type_alias(self, node: cst.TypeAlias) -> None:
        """`type X = …` holds a type hint, evaluated only on demand."""
        self.bind(node.name.value)


def read_program(module: cst.Module, package: str = "") -> Program:
    """Walks a parsed module. ``package`` is the dotted package of the file, against which relative imports count."""
    reader = Reader(module, package)
    reader.statements(module)
    settle_paths(reader.program)
    return reader.program
