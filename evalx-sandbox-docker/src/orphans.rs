//! Containers of hosts that are dead: found by their label, and removed.
//!
//! Mostly there are none: an agent ends with its host, and its container is
//! removed with it. What is left is what was created and never started, or was
//! lost with the engine.

use std::fs;
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use crate::engine::{Engine, OWNER_LABEL};
use crate::error::DockerError;
use crate::registry::see_off;

/// How old a container that was never started must be, if nothing can be known
/// of its owner.
const STALE: Duration = Duration::from_secs(600);

/// The pauses between looks.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A process, told from all others that ever were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// When the machine was started last.
    boot: String,
    /// The PID namespace, without which a number says nothing.
    namespace: String,
    pid: u32,
    /// When the process was started, in ticks since the boot.
    started: u64,
}

impl Owner {
    /// This process.
    pub(crate) fn current() -> Self {
        let pid = std::process::id();
        Self { boot: boot(), namespace: namespace(), pid, started: started(pid).unwrap_or(0) }
    }

    /// The label's value.
    pub(crate) fn label(&self) -> String {
        format!("{}/{}/{}/{}", self.boot, self.namespace, self.pid, self.started)
    }

    fn parse(label: &str) -> Option<Self> {
        let mut parts = label.split('/');
        let owner = Self {
            boot: parts.next()?.to_owned(),
            namespace: parts.next()?.to_owned(),
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    /// Whether it is dead, if that can be known from here.
    fn is_dead(&self) -> Option<bool> {
        if self.boot == boot() && self.namespace == namespace() {
            return Some(started(self.pid) != Some(self.started));
        }
        None
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, and ends with the last bracket.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    // A dead process that nobody has waited for is as good as gone.
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A number that no other sandbox has.
pub(crate) fn nonce() -> u64 {
    let mut bytes = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    match read {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => now().as_secs() ^ (u64::from(std::process::id()) << 32),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Removes what dead hosts have left; how many there were.
pub(crate) async fn sweep(engine: &Engine) -> Result<usize, DockerError> {
    let mut swept = 0;
    for container in engine.owned().await? {
        let Some(id) = container.id.clone().filter(|_| is_orphan(&container, now())) else { continue };
        tracing::info!(container = id, "removing what a dead host has left");
        // What was never started does not end by itself.
        let removed = match container.state {
            Some(ContainerSummaryStateEnum::RUNNING) => see_off(engine, &id).await,
            _ => engine.remove(&id).await,
        };
        match removed {
            Ok(()) => swept += 1,
            // The next look finds it again: one that stays keeps nobody from starting.
            Err(error) => tracing::warn!(container = id, %error, "a container could not be removed yet"),
        }
    }
    Ok(swept)
}

/// Goes on looking: what a host asked for as it died, an engine may make after
/// the next one's first look. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Janitor(tokio::task::JoinHandle<()>);

impl Janitor {
    pub(crate) fn start(engine: Engine) -> Self {
        Self(tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
                if let Err(error) = sweep(&engine).await {
                    tracing::debug!(%error, "could not look for containers of dead hosts");
                }
            }
        }))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn is_orphan(container: &ContainerSummary, now: Duration) -> bool {
    let label = container.labels.as_ref().and_then(|labels| labels.get(OWNER_LABEL));
    let Some(owner) = label.and_then(|label| Owner::parse(label)) else { return false };
    owner.is_dead().unwrap_or_else(|| {
        // A running one has a host that it hears; another never will.
        let created = container.created.and_then(|at| u64::try_from(at).ok()).map(Duration::from_secs);
        let idle = container.state != Some(ContainerSummaryStateEnum::RUNNING);
        idle && created.is_some_and(|created| now.saturating_sub(created) > STALE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn container(label: &str, state: ContainerSummaryStateEnum, created: i64) -> ContainerSummary {
        ContainerSummary {
            id: Some("id".to_owned()),
            labels: Some(HashMap::from([(OWNER_LABEL.to_owned(), label.to_owned())])),
            state: Some(state),
            created: Some(created),
            ..Default::default()
        }
    }

    #[test]
    fn the_living_keep_what_is_theirs() {
        let own = Owner::current();
        assert_eq!(Owner::parse(&own.label()), Some(own.clone()));
        let running = ContainerSummaryStateEnum::RUNNING;
        assert!(!is_orphan(&container(&own.label(), running, 0), now()));
        // The same number, but another process had it.
        let dead = Owner { started: own.started + 1, ..own.clone() };
        assert!(is_orphan(&container(&dead.label(), running, 0), now()));
        let absent = Owner { pid: u32::MAX, ..own };
        assert!(is_orphan(&container(&absent.label(), running, 0), now()));
    }

    #[test]
    fn of_strangers_only_the_stale_go() {
        let stranger = Owner { boot: "other".to_owned(), ..Owner::current() }.label();
        let created = ContainerSummaryStateEnum::CREATED;
        let now = Duration::from_secs(10_000);
        assert!(is_orphan(&container(&stranger, created, 1000), now));
        assert!(!is_orphan(&container(&stranger, created, 9_900), now));
        assert!(!is_orphan(&container(&stranger, ContainerSummaryStateEnum::RUNNING, 1000), now));
        for label in ["", "x", "a/b/c/d", "a/b/1/2/3"] {
            assert!(!is_orphan(&container(label, created, 0), now), "{label}");
        }
    }
}
