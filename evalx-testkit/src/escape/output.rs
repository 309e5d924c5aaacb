//! Class 4: output without end, and files that fill whatever holds them.

use evalx_core::{Isolation, LimitKind};

use super::{Attack, Bounds, Class, End};
use crate::Need;

const ROOMY: Bounds = Bounds { disk_mib: 8, files: 256, ..Bounds::SMALL };
const DISK: &[Need] = &[Need::Limit(LimitKind::Disk)];
const FILES: &[Need] = &[Need::Limit(LimitKind::Files)];
const APART: &[Need] = &[Need::Isolation(Isolation::Files)];
const FILTERED: &[Need] = &[Need::Isolation(Isolation::Syscalls)];
const FULL: &[End] = &[End::Disk];

const fn attack(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Output, name, arguments).within(ROOMY)
}

const fn flood(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    attack(name, arguments).ends(&[End::Output])
}

/// The table.
pub(crate) const ATTACKS: &[Attack] = &[
    flood("endless_stdout", &["flood", "stdout"]),
    flood("endless_stderr", &["flood", "stderr"]),
    flood("both_streams_endless", &["flood", "both"]),
    flood("endless_output_of_a_daemon", &["flood", "child"]),
    flood("stdout_opened_again", &["flood", "reopened"]),
    flood("stdout_made_wide", &["flood", "widened"]),
    flood("stdout_made_nonblocking", &["flood", "nonblocking"]),
    flood("stdout_spliced", &["splice-flood"]),
    attack("streams_twisted", &["twist-stdout"]),
    attack("inherited_descriptors", &["inherited"]),
    attack("streams_are_no_files_of_the_host", &["plain-streams"]),
    attack("big_file_in_the_work_folder", &["fill", "1", "/box/full"]).ends(FULL).needing(DISK),
    attack("big_file_in_tmp", &["fill", "1", "/tmp/full"]).ends(FULL).needing(DISK),
    attack("big_file_in_dev_shm", &["fill", "1", "/dev/shm/full"]).ends(FULL).needing(DISK),
    attack("big_files_without_names", &["fill-unlinked", "16"])
        .ends(&[End::Disk, End::Refused])
        .needing(DISK),
    attack("huge_sparse_file", &["sparse", "/box/sparse", "1024"]).ends(&[
        End::Held,
        End::Disk,
        End::Refused,
    ]),
    attack("reserved_space", &["preallocate"]).ends(&[End::Held, End::Disk]).needing(DISK),
    attack("a_million_files", &["make-files", "1", "file", "1000000"]).ends(FULL).needing(FILES),
    attack("a_million_folders", &["make-files", "1", "flat", "1000000"]).ends(FULL).needing(FILES),
    attack("a_million_files_in_tmp", &["make-files", "1", "file", "1000000", "/tmp"])
        .ends(FULL)
        .needing(FILES),
    attack("deep_folders", &["make-files", "1", "dir", "1000000"]).ends(FULL).needing(FILES),
    attack("long_names", &["make-files", "1", "long", "1000000"]).ends(FULL).needing(FILES),
    attack("a_million_hard_links", &["make-files", "1", "link", "1000000"])
        .ends(&[End::Disk, End::Cpu, End::Memory])
        .needing(FILES),
    attack("a_million_symlinks", &["make-files", "1", "symlink", "1000000"]).ends(FULL).needing(FILES),
    attack("a_million_fifos", &["make-files", "1", "fifo", "1000000"]).ends(FULL).needing(FILES),
    attack("extended_attributes", &["attributes"]).ends(&[End::Held, End::Disk, End::Memory]),
    attack("access_lists", &["access-lists"]).needing(FILTERED),
    attack("files_in_every_place", &["writable-places", "3"]).needing(APART),
];
