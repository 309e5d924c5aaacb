//! Class 7, within one session: networks, and sockets of the host.
//!
//! Where system calls are filtered, an Internet socket can't even be made, so
//! no address is ever tried.

use evalx_core::Isolation;

use super::{Attack, Class};
use crate::Need;

const APART: &[Need] = &[Need::Isolation(Isolation::Network)];
const SOCKETS: &[Need] = &[Need::Isolation(Isolation::Network), Need::Isolation(Isolation::Syscalls)];
const FILES: &[Need] = &[Need::Isolation(Isolation::Files)];

const fn attack(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Network, name, arguments).needing(APART)
}

const fn socket(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    attack(name, arguments).needing(SOCKETS)
}

/// The table.
pub(crate) const ATTACKS: &[Attack] = &[
    socket("tcp", &["socket", "2", "1"]),
    socket("udp", &["socket", "2", "2"]),
    socket("tcp_by_number", &["socket", "2", "1", "6"]),
    socket("multipath_tcp", &["socket", "2", "1", "262"]),
    socket("sctp", &["socket", "2", "5", "132"]),
    socket("udp_lite", &["socket", "2", "2", "136"]),
    socket("ping", &["socket", "2", "2", "1"]),
    socket("raw_ip", &["socket", "2", "3", "1"]),
    socket("tcp_over_ipv6", &["socket", "10", "1"]),
    socket("udp_over_ipv6", &["socket", "10", "2"]),
    socket("raw_ipv6", &["socket", "10", "3", "58"]),
    socket("close_on_exec_and_nonblocking", &["socket", "2", "0x80801"]),
    attack("services_on_loopback", &["loopback-services"]),
    attack("no_route_and_no_interface", &["only-loopback"]),
    attack("abstract_sockets_listed", &["unix-listed"]),
    attack("abstract_sockets_of_the_host", &["unix-connect", "@/tmp/.X11-unix/X0", "@/org/bluez", "@ISCSID"]),
    attack(
        "docker_socket",
        &["unix-connect", "/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock"],
    )
    .needing(FILES),
    attack(
        "container_runtime_sockets",
        &["unix-connect", "/run/containerd/containerd.sock", "/run/crio/crio.sock"],
    )
    .needing(FILES),
    attack("system_bus", &["unix-connect", "/run/dbus/system_bus_socket", "/run/systemd/private"])
        .needing(FILES),
    attack(
        "name_service_and_log",
        &["unix-connect", "/run/nscd/socket", "/dev/log", "/run/systemd/journal/socket"],
    )
    .needing(FILES),
];
