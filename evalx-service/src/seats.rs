//! [`Seats`]: how many programs people may talk to at once, and how long for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evalx_core::ByteSize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What interactive sessions of one process may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRules {
    /// Sessions at once, of all tenants.
    pub sessions: usize,
    /// Sessions of one tenant at once.
    pub tenant_sessions: usize,
    /// The longest time from the start of a program to its end.
    pub duration: Duration,
    /// How long a session may be silent: nothing is typed, and no output is
    /// taken by who reads it.
    pub idle: Duration,
    /// Stdin that may wait for a program that does not read it.
    pub unread: ByteSize,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            sessions: 8,
            tenant_sessions: 8,
            duration: Duration::from_secs(600),
            idle: Duration::from_secs(60),
            unread: ByteSize::mib(1),
        }
    }
}

impl SessionRules {
    /// Sets how many sessions there may be at once, of all tenants, and of one.
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize, of_a_tenant: usize) -> Self {
        self.sessions = sessions;
        self.tenant_sessions = of_a_tenant.min(sessions);
        self
    }

    /// Sets the longest time of a program, and of silence.
    #[must_use]
    pub const fn with_times(mut self, duration: Duration, idle: Duration) -> Self {
        self.duration = duration;
        self.idle = idle;
        self
    }
}

/// Why there is no seat for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoSeat {
    /// As many sessions run as may.
    Full(usize),
    /// As many of this tenant run as may.
    TenantFull(usize),
    /// This process ends.
    Closing,
}

impl fmt::Display for NoSeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(most) => write!(f, "{most} interactive sessions run, as many as may at once"),
            Self::TenantFull(most) => {
                write!(f, "you have {most} interactive sessions, as many as one may have at once")
            }
            Self::Closing => f.write_str("the server is shutting down"),
        }
    }
}

impl std::error::Error for NoSeat {}

/// The interactive sessions of one process. Clones are the same.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: SessionRules,
    /// How many each tenant has. Held for an assignment only.
    taken: Mutex<HashMap<String, usize>>,
    count: watch::Sender<usize>,
    closing: CancellationToken,
}

impl Seats {
    /// Seats by these rules; all are free.
    #[must_use]
    pub fn new(rules: SessionRules) -> Self {
        Self(Arc::new(Inner {
            rules,
            taken: Mutex::default(),
            count: watch::Sender::new(0),
            closing: CancellationToken::new(),
        }))
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &SessionRules {
        &self.0.rules
    }

    /// A seat for this tenant, until it is dropped.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn take(&self, tenant: &str) -> Result<Seat, NoSeat> {
        let Inner { rules, taken, count, closing } = &*self.0;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if closing.is_cancelled() {
            return Err(NoSeat::Closing);
        }
        if taken.values().sum::<usize>() >= rules.sessions {
            return Err(NoSeat::Full(rules.sessions));
        }
        let of_tenant = taken.entry(tenant.to_owned()).or_default();
        if *of_tenant >= rules.tenant_sessions {
            return Err(NoSeat::TenantFull(rules.tenant_sessions));
        }
        *of_tenant += 1;
        count.send_modify(|count| *count += 1);
        Ok(Seat { seats: self.clone(), tenant: tenant.to_owned() })
    }

    /// From now on there is no seat. Who has one is told that this process
    /// ends, and its program is ended.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Waits until every seat is free, but not longer than `most`; whether all are.
    pub async fn wait_until_free(&self, most: Duration) -> bool {
        let mut count = self.0.count.subscribe();
        // The sender lives as long as `self`.
        tokio::time::timeout(most, count.wait_for(|count| *count == 0)).await.is_ok()
    }
}

/// A place for one interactive session; dropping it makes room for another.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    tenant: String,
}

impl Seat {
    /// The rules that hold here.
    #[must_use]
    pub fn rules(&self) -> &SessionRules {
        self.seats.rules()
    }

    /// Ends when this process does.
    pub async fn closing(&self) {
        self.seats.0.closing.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_tenant) = taken.get_mut(&self.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                taken.remove(&self.tenant);
            }
        }
        self.seats.0.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn seats_are_counted_by_tenant_and_free_when_dropped() {
        let seats = Seats::new(SessionRules::default().with_sessions(3, 2));
        let first = seats.take("ann").unwrap();
        let second = seats.take("ann").unwrap();
        assert_eq!(seats.take("ann").unwrap_err(), NoSeat::TenantFull(2));
        let third = seats.take("bob").unwrap();
        assert_eq!(seats.take("eve").unwrap_err(), NoSeat::Full(3));
        drop(first);
        let _fourth = seats.take("ann").unwrap();
        assert!(!seats.wait_until_free(Duration::ZERO).await);
        seats.close();
        assert_eq!(seats.take("ann").unwrap_err(), NoSeat::Closing);
        third.closing().await;
        drop((second, third, _fourth));
        assert!(seats.wait_until_free(Duration::from_secs(5)).await);
        assert!(seats.0.taken.lock().unwrap().is_empty());
    }
}
