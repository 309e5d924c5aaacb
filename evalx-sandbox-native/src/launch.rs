//! [`LaunchPlan`]: what the host tells a launcher when it starts it, as arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::cgroup::Plan;

/// The size of a message to the launcher: a command byte and a slot's index.
pub(crate) const REQUEST: usize = 16;

/// Everything a launcher has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaunchPlan {
    /// The instance's name, which is in the names of its cgroups.
    pub(crate) instance: String,
    /// A folder of this instance's own, on which the launcher mounts what it
    /// prepares; nobody else sees those mounts.
    pub(crate) folder: PathBuf,
    pub(crate) cgroup: Plan,
    /// The first of the host uids that slots get, two each; `None` for an
    /// ordinary user, who has but one.
    pub(crate) uids: Option<u32>,
    /// Folders shown read-only inside, at the same paths.
    pub(crate) readable: Vec<PathBuf>,
}

impl LaunchPlan {
    /// The arguments that say it.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut say = |key: &str, value: &OsStr| {
            let mut argument = OsString::from(key);
            argument.push("=");
            argument.push(value);
            arguments.push(argument);
        };
        say("instance", OsStr::new(&self.instance));
        say("folder", self.folder.as_os_str());
        if let Some(uids) = self.uids {
            say("uids", OsStr::new(&uids.to_string()));
        }
        let kind = match self.cgroup {
            Plan::V1(_) => "cgroup1",
            Plan::V2(_) => "cgroup2",
            Plan::Rlimits => "",
        };
        for folder in self.cgroup.folders() {
            say(kind, folder.as_os_str());
        }
        for folder in &self.readable {
            say("readable", folder.as_os_str());
        }
        arguments
    }

    /// Reads them back.
    pub(crate) fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut plan = Self {
            instance: String::new(),
            folder: PathBuf::new(),
            cgroup: Plan::Rlimits,
            uids: None,
            readable: Vec::new(),
        };
        for argument in arguments {
            let bytes = argument.as_bytes();
            let split = bytes.iter().position(|byte| *byte == b'=')?;
            let value = OsString::from_vec(bytes[split + 1..].to_vec());
            match &bytes[..split] {
                b"instance" => plan.instance = value.into_string().ok()?,
                b"folder" => plan.folder = value.into(),
                b"uids" => plan.uids = Some(value.to_str()?.parse().ok()?),
                b"cgroup1" => match &mut plan.cgroup {
                    Plan::V1(folders) => folders.push(value.into()),
                    other => *other = Plan::V1(vec![value.into()]),
                },
                b"cgroup2" => plan.cgroup = Plan::V2(value.into()),
                b"readable" => plan.readable.push(value.into()),
                _ => return None,
            }
        }
        (!plan.instance.is_empty()).then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_arguments() {
        let plan = LaunchPlan {
            instance: "1-a".to_owned(),
            folder: "/run/x".into(),
            cgroup: Plan::V1(vec!["/a=b".into(), "/c".into()]),
            uids: Some(7),
            readable: vec!["/opt/x".into()],
        };
        assert_eq!(LaunchPlan::from_arguments(plan.to_arguments()), Some(plan.clone()));
        let plan = LaunchPlan { cgroup: Plan::V2("/v2".into()), uids: None, ..plan };
        assert_eq!(LaunchPlan::from_arguments(plan.to_arguments()), Some(plan));
    }
}
