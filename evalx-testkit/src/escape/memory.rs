//! Class 2: memory taken in every way that the kernel gives it out.

use evalx_core::{Isolation, LimitKind, Signal};

use super::{Attack, Bounds, Class, End};
use crate::Need;

const TIGHT: Bounds = Bounds { memory_mib: 24, disk_mib: 64, ..Bounds::SMALL };
/// A stack as large as memory, so that memory is what runs out.
const DEEP: Bounds = Bounds { stack_kib: 1 << 20, ..TIGHT };
const NEEDS: &[Need] = &[Need::Limit(LimitKind::Memory)];
const GUARDED: &[Need] = &[Need::Isolation(Isolation::Syscalls)];
const EXCEEDED: &[End] = &[End::Memory];
/// Kernel objects: bounded by a count, or charged as memory, or slow to fill.
const BOUNDED: &[End] = &[End::Held, End::Memory, End::Cpu, End::Wall, End::Processes];

const fn attack(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Memory, name, arguments).within(TIGHT).needing(NEEDS)
}

/// The table.
pub(crate) const ATTACKS: &[Attack] = &[
    attack("one_big_allocation", &["touch", "512"]).ends(EXCEEDED),
    attack("slow_growth", &["memory-slow"]).ends(EXCEEDED),
    attack("endless_private_maps", &["memory-endless", "private"]).ends(EXCEEDED),
    attack("endless_shared_maps", &["memory-endless", "shared"]).ends(EXCEEDED),
    attack("break_pointer", &["memory-brk"]).ends(EXCEEDED),
    attack("many_small_children", &["memory-children"]).ends(EXCEEDED),
    attack("one_child_of_a_good_parent", &["memory-child-dies"]).ends(EXCEEDED),
    attack("copy_on_write", &["memory-copy-on-write"]).ends(EXCEEDED),
    attack("thread_stacks", &["thread-stacks"]).ends(EXCEEDED),
    attack("memfd", &["memory-memfd"]).ends(&[End::Memory, End::Refused]),
    attack("work_folder_as_memory", &["fill", "3", "/box/full"]).ends(&[End::Memory, End::Disk]),
    attack("tmp_as_memory", &["fill", "3", "/tmp/full"]).ends(&[End::Memory, End::Disk]),
    attack("dev_shm_as_memory", &["fill", "3", "/dev/shm/full"]).ends(&[
        End::Memory,
        End::Disk,
        End::Refused,
    ]),
    attack("huge_stack", &["recursion"]).ends(&[End::Memory]).within(DEEP),
    attack("endless_recursion", &["recursion"])
        .ends(&[End::Signal(Signal::SEGV)])
        .within(Bounds { stack_kib: 1024, ..TIGHT }),
    attack("locked_memory", &["memory-lock"]).ends(&[End::Held, End::Memory]),
    attack("page_tables", &["page-tables"]).ends(&[End::Memory, End::Cpu, End::Wall]),
    attack("pipe_buffers", &["pipe-buffers"]).ends(BOUNDED),
    attack("socket_buffers", &["socket-buffers"]).ends(BOUNDED),
    attack("descriptors_in_flight", &["descriptors-in-flight"]).ends(BOUNDED),
    attack("sysv_shared_memory", &["sysv-shared"]).ends(BOUNDED),
    attack("sysv_message_queues", &["sysv-messages"]).ends(BOUNDED),
    attack("sysv_semaphores", &["sysv-semaphores"]).ends(BOUNDED),
    attack("posix_message_queues", &["posix-queues"]).ends(BOUNDED),
    attack("pages_gifted_to_pipes", &["gifted-pages"]).ends(BOUNDED),
    attack("negative_entries", &["negative-entries"]).ends(BOUNDED),
    attack("kernel_objects", &["kernel-objects"]).ends(BOUNDED),
    attack("huge_pages", &["huge-pages"]).needing(GUARDED),
    attack("page_cache_is_no_excess", &["page-cache", "/box/cache"]),
];
