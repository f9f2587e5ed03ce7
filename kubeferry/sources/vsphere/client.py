"""A session with a vCenter or an ESXi host: log in, log in again when the session has expired, collect properties.

Properties come through the property collector only, in pages, and never as attributes of managed objects: an attribute
is a call of its own, and one that is not set fails on some servers.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any
from xml.parsers.expat import ExpatError

from pyVim.connect import SmartStubAdapter
from pyVmomi import vim, vmodl

from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.outside import stopping
from kubeferry.sources.vsphere import trust
from kubeferry.sources.vsphere.access import Access
from kubeferry.sources.vsphere.plain import Plain, plain, reference

ANSWER_SECONDS = 120  # a call that takes longer is a server that hangs
POLL_SECONDS = 0.1
POLL_MOST_SECONDS = 2.0
PAGE = 200

UNANSWERED = (OSError, http.client.HTTPException, ExpatError)
"""What the library raises where a server does not answer, or with something else: an error page is no XML."""
_Query = vmodl.query.PropertyCollector
# What passes by itself: the host is busy, does not answer, or another task holds the machine.
_PASSING = (
    vim.fault.TaskInProgress,
    vim.fault.HostConnectFault,
    vmodl.fault.HostNotConnected,
    vmodl.fault.HostNotReachable,
    vim.fault.Timedout,
    vim.fault.ConcurrentAccess,
    vmodl.fault.HostCommunication,
    vmodl.fault.SystemError,
)


class Client:
    """One session. Connects when it is first needed."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.certificate = b""
        self._stub: Any = None
        self._service: Any = None  # asked for once; as an attribute it would be a call each time

    @contextlib.contextmanager
    def talking(self, machine: str = "") -> Iterator[Any]:
        """The service's content, of a session that is alive; the library's errors come out as ours."""
        try:
            yield self._content()
        except vmodl.fault.ManagedObjectNotFound as error:
            raise _gone(machine) from error
        except vim.fault.NotAuthenticated as error:
            self._drop()
            fix = "Run the same again: it logs in anew."
            raise SourceUnavailable("the session at vSphere has expired", fix=fix, machine=machine) from error
        except vim.fault.NoPermission as error:
            why = f"the privilege {error.privilegeId} is missing" if error.privilegeId else words(error)
            fix = "Give the role of this user what docs/vmware.md lists."
            raise SourceRefused("vSphere does not allow it", why=why, fix=fix, machine=machine) from error
        except vmodl.MethodFault as error:
            raise _fault(error, machine) from error
        except UNANSWERED as error:
            self._drop()
            raise self._unanswered(error, machine) from error

    def _content(self) -> Any:
        if self._service is not None and not self._is_alive():
            self._drop()
        if self._service is None:
            self._connect()
        return self._service

    def _is_alive(self) -> bool:
        content = self._service
        return "currentSession" in self.properties(content.sessionManager, ("currentSession",), content=content)

    def _connect(self) -> None:
        access = self.access
        self.certificate = trust.certificate(access, access.host, access.port)
        context = trust.only(self.certificate)
        try:
            self._stub = SmartStubAdapter(
                host=access.host, port=access.port, sslContext=context, httpConnectionTimeout=ANSWER_SECONDS
            )
            content: Any = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
            content.sessionManager.Login(access.user, access.password, None)
            self._service = content
        except vim.fault.InvalidLogin:
            self._drop()
            # Not chained: the library's error could hold what was sent.
            raise SourceRefused(
                f"vSphere does not accept the login of {access.user}",
                why=f"{access.where} says that the name or the password is wrong",
                fix="Correct GOVC_USERNAME and GOVC_PASSWORD; too many tries may lock the account.",
            ) from None
        except ssl.SSLCertVerificationError as error:
            self._drop()
            fix = "Renew the certificate of the server."
            why = error.verify_message
            raise SourceRefused(f"the certificate of {access.where} is not valid", why=why, fix=fix) from error

    def _unanswered(self, error: Exception, machine: str) -> KubeferryError:
        why = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        fix = "Check that vSphere runs; then run the same again."
        return SourceUnavailable(f"{self.access.where} does not answer", why=why, fix=fix, machine=machine)

    def _drop(self) -> None:
        if self._stub is not None:
            self._stub.DropConnections()
        self._stub = self._service = None

    def close(self) -> None:
        """Log out."""
        if self._service is not None:
            with contextlib.suppress(*UNANSWERED, vmodl.MethodFault):
                self._service.sessionManager.Logout()
        self._drop()

    # --- properties ------------------------------------------------------------------------------------------------

    def properties(self, managed: Any, paths: Sequence[str], *, content: Any) -> Plain:
        """These properties of one object, without those that are not set."""
        asked = _Query.FilterSpec(
            objectSet=[_Query.ObjectSpec(obj=managed)],
            propSet=[_Query.PropertySpec(type=type(managed), pathSet=list(paths))],
        )
        answer = content.propertyCollector.RetrievePropertiesEx([asked], _Query.RetrieveOptions())
        return _told(answer.objects[0]) if answer is not None and answer.objects else {}

    def raw(self, managed: Any, path: str, *, content: Any) -> Any:
        """One property as the library has it, to be handed back to the server; None where it is not set."""
        asked = _Query.FilterSpec(
            objectSet=[_Query.ObjectSpec(obj=managed)],
            propSet=[_Query.PropertySpec(type=type(managed), pathSet=[path])],
        )
        answer = content.propertyCollector.RetrievePropertiesEx([asked], _Query.RetrieveOptions())
        found = answer.objects[0].propSet if answer is not None and answer.objects else []
        return found[0].val if found else None

    def listed(self, kind: Any, paths: Sequence[str], *, content: Any, page: int = PAGE) -> Iterator[tuple[str, Plain]]:
        """All objects of a kind below the root, by reference, in pages: one page is held at a time."""
        view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
        walk = _Query.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
        try:
            start = _Query.ObjectSpec(obj=view, skip=True, selectSet=[walk])
            yield from self._pages([start], kind, paths, content=content, page=page)
        finally:
            with contextlib.suppress(*UNANSWERED, vmodl.MethodFault):
                view.DestroyView()

    def detailed(self, kind: Any, ids: Sequence[str], paths: Sequence[str], *, content: Any) -> dict[str, Plain]:
        """These objects, in one page. One that is gone meanwhile is not there."""
        stub = self._stub
        start = [_Query.ObjectSpec(obj=kind(one, stub)) for one in ids]
        try:
            return dict(self._pages(start, kind, paths, content=content, page=len(ids) or 1))
        except vmodl.fault.ManagedObjectNotFound:
            if len(ids) == 1:
                return {}
            middle = len(ids) // 2
            first = self.detailed(kind, ids[:middle], paths, content=content)
            return first | self.detailed(kind, ids[middle:], paths, content=content)

    def _pages(
        self, start: list[Any], kind: Any, paths: Sequence[str], *, content: Any, page: int
    ) -> Iterator[tuple[str, Plain]]:
        wanted = list(paths)
        collector, options = content.propertyCollector, _Query.RetrieveOptions(maxObjects=page)
        answer = None
        while wanted:
            asked = _Query.FilterSpec(objectSet=start, propSet=[_Query.PropertySpec(type=kind, pathSet=wanted)])
            try:
                answer = collector.RetrievePropertiesEx([asked], options)
                break
            except vmodl.query.InvalidProperty as error:  # an older server has not heard of it
                if error.name not in wanted:
                    raise
                wanted.remove(error.name)
        while answer is not None:
            stopping.check()
            yield from ((reference(one.obj), _told(one)) for one in answer.objects)
            answer = collector.ContinueRetrievePropertiesEx(answer.token) if answer.token else None

    # --- tasks -----------------------------------------------------------------------------------------------------

    def finished(self, task: Any, seconds: float, what: str, *, content: Any, machine: str) -> Any:
        """Wait for a task; its result. Raises SourceUnavailable when it takes longer than `seconds`, and is left to
        itself then; its own error as ours."""
        limit, wait = time.monotonic() + seconds, POLL_SECONDS
        while True:
            info = self.raw(task, "info", content=content)
            if info is not None and info.state == "success":
                return info.result
            if info is not None and info.state == "error":
                raise info.error
            if time.monotonic() > limit:
                fix = "Look at the task in vSphere; when it has ended, run the same again."
                why = f"it was waited for {seconds:.0f} s"
                raise SourceUnavailable(f"{what} does not end", why=why, fix=fix, machine=machine)
            stopping.pause(wait)
            wait = min(wait * 1.5, POLL_MOST_SECONDS)


def _told(one: Any) -> Plain:
    return {told.name: plain(told.val) for told in one.propSet}


def _gone(machine: str) -> SourceRefused:
    fix = "Discover and plan again, or register it again."
    return SourceRefused("the source has no such machine any more", fix=fix, machine=machine)


def _fault(error: Any, machine: str) -> KubeferryError:
    kind = SourceUnavailable if isinstance(error, _PASSING) else SourceRefused
    fix = "Look at the machine's tasks and events in vSphere; when that is settled, run the same again."
    return kind("vSphere refuses", why=words(error), fix=fix, machine=machine)


def words(error: Any) -> str:
    said = error.msg or (error.faultMessage[0].message if error.faultMessage else "")
    return f"{type(error).__name__.rpartition('.')[2]}{': ' if said else ''}{said}"[:300]
