//! scratch
use evalx_core::*;
use evalx_sandbox_docker::*;
use std::sync::Arc;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_env_filter("evalx_sandbox_docker=debug").init();
    for round in 0..10 {
        let config = DockerConfig::new(Image::new("evalx-spike:1", 2))
            .with_sessions(16)
            .with_reuse(Reuse::Sessions(1000));
        let s = Arc::new(DockerSandbox::start(config).await.unwrap());
        let work: Vec<_> = (0..8)
            .map(|_| {
                let s = s.clone();
                tokio::spawn(async move {
                    let mut session = s.open(SessionSpec::default()).await?;
                    let mut io = Collect::default();
                    session.run(Step::new("sleep").with_argument("0.1"), &mut io).await?;
                    session.close().await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let t = std::time::Instant::now();
        let r = tokio::time::timeout(std::time::Duration::from_secs(20), s.shutdown()).await;
        println!("{round}: {r:?} {:?} {:?}", t.elapsed(), s.statistics());
        for w in work {
            println!("{:?}", w.await.unwrap().map_err(|e| e.chain()));
        }
    }
}
