//! How a sandbox behaves: one suite, over every transport that there is.

mod answers;
mod controllers;
mod hostile;
mod limits;
mod output;
mod reset;
mod session;

/// Makes tests of each scenario: with the sandbox as a process, and with the real image in a Pod.
macro_rules! on_every_transport {
    ($($scenario:ident),+ $(,)?) => {
        mod local {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    crate::within_deadline(super::$scenario(cataloger_tests::place::Place::Local)).await;
                }
            )+
        }
        mod pod {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    crate::within_deadline(super::$scenario(cataloger_tests::place::Place::Pod)).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_transport;

/// No test hangs.
async fn within_deadline(scenario: impl Future<Output = ()>) {
    // The first one in a Pod may have to wait for the image and the cluster.
    let minutes = std::time::Duration::from_mins(3);
    tokio::time::timeout(minutes, scenario)
        .await
        .expect("the test ends in time");
}
