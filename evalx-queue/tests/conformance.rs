//! The suite that decides whether something is a queue, on those of this crate.

use std::process::ExitCode;
use std::sync::Arc;

use evalx_queue::{DynQueue, MemoryQueue};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    #[cfg_attr(not(feature = "redis"), expect(unused_mut, reason = "there is one queue"))]
    let mut trials = evalx_testkit::queue::trials("memory", |config| async move {
        let queue: DynQueue = Arc::new(MemoryQueue::new(config)?);
        Ok(queue)
    });
    #[cfg(feature = "redis")]
    let servers = [on_redis::plain(), on_redis::cluster()];
    #[cfg(feature = "redis")]
    for (name, server) in ["redis", "redis_cluster"].into_iter().zip(&servers) {
        trials.extend(on_redis::trials(name, server));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[cfg(feature = "redis")]
mod on_redis {
    //! On a server of its own, and on one that is a cluster by itself: that one
    //! refuses scripts whose keys are not in one slot.

    use std::sync::{Arc, LazyLock};
    use std::time::{Duration, Instant};

    use evalx_queue::{DynQueue, Error, ErrorKind, JobId, RedisConfig, RedisQueue};
    use evalx_testkit::{RedisOptions, RedisServer};
    use libtest_mimic::Trial;

    /// A server that is started when the first trial needs it.
    type Server = Arc<LazyLock<Result<RedisServer, String>>>;

    pub(crate) fn plain() -> Server {
        Arc::new(LazyLock::new(|| RedisServer::start(RedisOptions::volatile())))
    }

    pub(crate) fn cluster() -> Server {
        Arc::new(LazyLock::new(|| {
            let options = RedisOptions::volatile().with_arguments(["--cluster-enabled", "yes"]);
            let server = RedisServer::start(options)?;
            let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            server.ask(&command)?;
            let deadline = Instant::now() + Duration::from_secs(30);
            while !server.ask(&["CLUSTER", "INFO"])?.contains("cluster_state:ok") {
                if Instant::now() > deadline {
                    return Err("the cluster of one does not come up".to_owned());
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
            Ok(server)
        }))
    }

    pub(crate) fn trials(name: &str, server: &Server) -> Vec<Trial> {
        let server = Arc::clone(server);
        evalx_testkit::queue::trials(name, move |config| {
            let server = Arc::clone(&server);
            async move {
                let server = LazyLock::force(&server).as_ref();
                let server = server.map_err(|error| Error::new(ErrorKind::Unavailable, error.clone()))?;
                let config =
                    RedisConfig::new(server.url()).with_name(JobId::new().to_string()).with_queue(config);
                let queue: DynQueue = Arc::new(RedisQueue::connect(config).await?);
                Ok(queue)
            }
        })
    }
}
