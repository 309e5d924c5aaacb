//! [`Shelf`]: the spare containers of one image, and who waits for one.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::statistics::ShelfStatistics;
use super::{Loan, Pool};
use crate::container::Container;
use crate::error::DockerError;

/// Containers of one image.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) target: usize,
    pub(super) spare: VecDeque<Container>,
    pub(super) creating: usize,
    /// In use, and expected back.
    pub(super) lent: usize,
    pub(super) line: VecDeque<oneshot::Sender<Result<Loan, DockerError>>>,
    pub(super) failure: Option<String>,
}

impl Shelf {
    /// Hands a container to the first in line, or keeps it if there are fewer
    /// spares than `most`; what is too much comes back.
    pub(super) fn place(&mut self, container: Container, most: usize, pool: &Arc<Pool>) -> Option<Container> {
        let mut loan = Loan::new(container, pool);
        while let Some(sender) = self.line.pop_front() {
            match sender.send(Ok(loan)) {
                Ok(()) => {
                    self.lent += 1;
                    return None;
                }
                Err(Ok(back)) => loan = back,
                // What was sent is what comes back.
                Err(Err(_)) => return None,
            }
        }
        let container = loan.container.take()?;
        if self.spare.len() < most {
            self.spare.push_back(container);
            return None;
        }
        Some(container)
    }

    /// How full it is.
    pub(super) fn statistics(&self, image: &str) -> ShelfStatistics {
        ShelfStatistics {
            image: image.to_owned(),
            target: self.target,
            spare: self.spare.len(),
            creating: self.creating,
            waiting: self.line.iter().filter(|sender| !sender.is_closed()).count(),
            failure: self.failure.clone(),
        }
    }
}
