"""Templates as CloudFormation sees them: read, and resolved for given parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cfnlint.decode import decode_str

from asyncrep.cli.template import read_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ACCOUNT = "123456789012"
NO_VALUE = object()
"""What AWS::NoValue stands for: the member, or the entry of a list, is not there."""


def read(name: str) -> dict[str, Any]:
    """A template that comes along, its functions in the long form, ``{"Fn::Sub": …}``."""
    template, problems = decode_str(read_template(name))
    assert not problems, problems
    return template  # type: ignore[no-any-return]


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "Fn::And": all,
    "Fn::Equals": lambda values: values[0] == values[1],
    "Fn::Join": lambda values: values[0].join(values[1]),
    "Fn::Not": lambda values: not values[0],
    "Fn::Or": any,
    "Fn::Select": lambda values: values[1][int(values[0])],
    "Fn::Split": lambda values: values[1].split(values[0]),
}


@dataclass(frozen=True)
class Stack:
    """A template with parameters, as it would be deployed.

    Attributes:
        made: the physical names of resources and attributes, by ``Resource`` and ``Resource.Attribute``;
            what is not in it is called ``<Resource>`` and ``<Resource.Attribute>``.
    """

    template: str
    given: Mapping[str, str]
    region: str = "us-east-1"
    name: str = "stack"
    made: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def text(self) -> dict[str, Any]:
        """The template."""
        return read(self.template)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Every parameter's value, those of list types as lists."""
        found: dict[str, Any] = {}
        for name, parameter in self.text["Parameters"].items():
            value = str(self.given[name] if name in self.given else parameter["Default"])
            is_list = parameter["Type"].startswith(("List<", "CommaDelimitedList"))
            found[name] = value.split(",") if is_list else value
        return found

    @cached_property
    def resources(self) -> dict[str, Any]:
        """The resources that are made, resolved."""
        return {
            name: self._resolved({key: value for key, value in resource.items() if key != "Condition"})
            for name, resource in self.text["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of the resources of a type."""
        return {
            name: resource["Properties"]
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def policy(self, role: str) -> dict[str, Any]:
        """The only policy of a role."""
        [policy] = self.resources[role]["Properties"]["Policies"]
        document: dict[str, Any] = policy["PolicyDocument"]
        return document

    def statements(self, role: str) -> dict[str, dict[str, Any]]:
        """The statements of a role's policy by their Sids."""
        return {each["Sid"]: each for each in self.policy(role)["Statement"]}

    def _holds(self, condition: str) -> bool:
        return bool(self._resolved(self.text["Conditions"][condition]))

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(self._resolved, value) if each is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            if name in {"Ref", "Condition"} or name.startswith("Fn::"):
                return self._called(name, argument)
        members = {key: self._resolved(each) for key, each in value.items()}
        return {key: each for key, each in members.items() if each is not NO_VALUE}

    def _called(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Condition":
                return self._holds(argument)
            case "Fn::If":
                condition, then, otherwise = argument
                return self._resolved(then if self._holds(condition) else otherwise)
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::GetAtt":
                return self._attribute(argument if isinstance(argument, str) else ".".join(argument))
            case _:
                return _FUNCTIONS[name](self._resolved(argument))

    def _ref(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackName": self.name,
            "AWS::NoValue": NO_VALUE,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        assert name in self.text["Resources"], name
        return self.made.get(name, f"<{name}>")

    def _sub(self, argument: Any) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument
        own = self._resolved(variables)

        def named(name: str) -> Any:
            if name in own:
                return own[name]
            return self._attribute(name) if "." in name else self._ref(name)

        return re.sub(r"\$\{([^}]+)\}", lambda found: str(named(found[1])), text)

    def _attribute(self, path: str) -> str:
        return self.made.get(path, f"<{path}>")
