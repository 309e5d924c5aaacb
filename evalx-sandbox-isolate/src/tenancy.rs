//! [`Tenancy`]: a session's hold on a box, which a shutdown can end at any time.

use std::sync::{Arc, Mutex};

use tokio::sync::OwnedSemaphorePermit;

use crate::boxes::{Boxes, Common, ReadyBox, locked};
use crate::error::IsolateError;
use crate::keeper::{Keeper, Stopped};
use crate::work::Work;

/// A box with a session in it.
#[derive(Debug)]
pub(crate) struct UsedBox {
    pub(crate) ready: ReadyBox,
    pub(crate) work: Work,
    /// Something went wrong that isolate did not expect.
    pub(crate) broken: bool,
}

impl UsedBox {
    pub(crate) const fn new(ready: ReadyBox, work: Work) -> Self {
        Self { ready, work, broken: false }
    }
}

/// What a session and a shutdown both have in hand.
#[derive(Debug)]
pub(crate) struct Tenancy {
    number: u64,
    boxes: Arc<Boxes>,
    used: Mutex<Option<UsedBox>>,
    keeper: Mutex<Option<Keeper>>,
    _permit: OwnedSemaphorePermit,
}

impl Tenancy {
    pub(crate) fn new(number: u64, boxes: Arc<Boxes>, used: UsedBox, permit: OwnedSemaphorePermit) -> Self {
        Self { number, boxes, used: Mutex::new(Some(used)), keeper: Mutex::default(), _permit: permit }
    }

    pub(crate) fn common(&self) -> &Common {
        &self.boxes.common
    }

    /// Does something with the box, unless the sandbox was shut down.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut UsedBox) -> T) -> Result<T, IsolateError> {
        locked(&self.used).as_mut().map(work).ok_or(IsolateError::ShutDown)
    }

    pub(crate) fn boxes(&self) -> &Boxes {
        &self.boxes
    }

    /// The run that is under way or has ended last.
    pub(crate) fn keeper(&self) -> Option<Keeper> {
        locked(&self.keeper).clone()
    }

    /// Notes a run that has begun. If the sandbox is closing, it is stopped.
    pub(crate) fn keep(&self, keeper: &Keeper) {
        *locked(&self.keeper) = Some(keeper.clone());
        if self.boxes.is_closing() {
            keeper.stop(Stopped::Abandoned);
        }
    }

    /// Stops what runs, and makes the box ready for others behind.
    pub(crate) fn end(&self) {
        let used = locked(&self.used).take();
        self.boxes.forget(self.number);
        let keeper = self.keeper();
        if let Some(keeper) = &keeper {
            keeper.stop(Stopped::Abandoned);
        }
        if let Some(used) = used {
            let boxes = Arc::clone(&self.boxes);
            self.boxes.spawn(async move {
                if let Some(keeper) = keeper {
                    keeper.ended().await;
                }
                boxes.renew(used).await;
            });
        }
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.end();
    }
}
