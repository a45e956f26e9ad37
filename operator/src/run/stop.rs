//! Whether a run is to stop, and for whom.
//!
//! It must not know what is stopped.

use tokio_util::sync::CancellationToken;

use super::{Parts, RunError};

/// Who wants a run to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop<'a> {
    cancel: &'a CancellationToken,
    hand_over: &'a CancellationToken,
}

impl Parts {
    /// Who wants it to stop.
    pub(super) fn stop(&self) -> Stop<'_> {
        Stop {
            cancel: &self.cancel,
            hand_over: &self.hand_over,
        }
    }
}

impl Stop<'_> {
    /// Whether nothing new is to be begun.
    pub(super) fn is_wanted(self) -> bool {
        self.cancel.is_cancelled() || self.hand_over.is_cancelled()
    }

    /// Whether somebody else goes on, with what there is now. Who wants no more at all has the last word.
    pub(super) fn is_hand_over(self) -> bool {
        self.hand_over.is_cancelled() && !self.cancel.is_cancelled()
    }

    /// An error, if nothing new is to be begun.
    pub(super) fn check(self) -> Result<(), RunError> {
        if self.is_wanted() {
            return Err(RunError::Interrupted);
        }
        Ok(())
    }

    /// Until nothing new is to be begun.
    pub(super) async fn wanted(self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.hand_over.cancelled() => {}
        }
    }

    /// Until nobody wants even what is under way, which is `paid` from some moment on: who hands over leaves that
    /// its time.
    pub(super) async fn wanted_unless(self, paid: impl Fn() -> bool) {
        tokio::select! {
            () = self.cancel.cancelled() => return,
            () = self.hand_over.cancelled() => {}
        }
        if paid() {
            self.cancel.cancelled().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn who_wants_no_more_has_the_last_word() {
        let (cancel, hand_over) = (CancellationToken::new(), CancellationToken::new());
        let stop = Stop {
            cancel: &cancel,
            hand_over: &hand_over,
        };
        let mut unpaid = pin!(stop.wanted_unless(|| false));
        let mut paid = pin!(stop.wanted_unless(|| true));
        assert!(stop.check().is_ok() && !stop.is_hand_over());
        assert!(stop.wanted().now_or_never().is_none());
        assert!(unpaid.as_mut().now_or_never().is_none() && paid.as_mut().now_or_never().is_none());

        hand_over.cancel();
        assert!(stop.check().is_err() && stop.is_hand_over());
        assert!(stop.wanted().now_or_never().is_some());
        assert!(unpaid.as_mut().now_or_never().is_some() && paid.as_mut().now_or_never().is_none());

        cancel.cancel();
        assert!(stop.is_wanted() && !stop.is_hand_over());
        assert!(paid.as_mut().now_or_never().is_some());
    }
}
