//! [`Workers`]: the workers of one process, on both queues.

use std::sync::Arc;
use std::time::Duration;

use evalx_queue::{Drained, Result, Worker, WorkerConfig};

use crate::deliver::{Couriers, DeliveryHandler};
use crate::engine::Engine;
use crate::evaluate::EvaluationHandler;
use crate::notice::Notices;
use crate::queues::Queues;

/// Deliveries mostly wait for the network.
const DELIVERIES_AT_ONCE: usize = 32;

/// The workers of one process: some evaluate submissions, others deliver results.
///
/// Dropping them kills what runs; [`shutdown`](Self::shutdown) is the kind way.
#[derive(Debug)]
pub struct Workers {
    evaluations: Worker,
    deliveries: Worker,
}

impl Workers {
    /// Starts them. `jobs` submissions are had at once; the steps of all share
    /// the permits of the engine's evaluator. At the shutdown, what runs may
    /// go on for as long as `drain`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if no job could be had.
    pub fn start(
        queues: &Queues,
        engine: &Engine,
        couriers: Couriers,
        jobs: usize,
        drain: Duration,
    ) -> Result<Self> {
        let evaluate =
            EvaluationHandler::new(engine.evaluator().clone(), Notices::new(Arc::clone(&queues.deliveries)));
        let deliver = DeliveryHandler::new(Arc::clone(&queues.submissions), couriers);
        let config = WorkerConfig::default().with_drain(drain);
        Ok(Self {
            evaluations: Worker::start(
                Arc::clone(&queues.submissions),
                evaluate,
                config.clone().with_slots(jobs),
            )?,
            deliveries: Worker::start(
                Arc::clone(&queues.deliveries),
                deliver,
                // A worker's name is its own on either queue.
                config.with_slots(DELIVERIES_AT_ONCE),
            )?,
        })
    }

    /// Takes no more, finishes what runs or hands it back, and says what was
    /// done with submissions.
    pub async fn shutdown(self) -> Drained {
        let evaluations = self.evaluations.shutdown().await;
        // The results of those are delivered yet, as far as that is quick.
        self.deliveries.shutdown().await;
        evaluations
    }
}
