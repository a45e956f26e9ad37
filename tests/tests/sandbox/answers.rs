//! Calls by id: run at most once, and answered as often as one asks.

use cataloger::sandbox::{CallId, Cell, Sandbox, SandboxError};
use cataloger_tests::place::{Place, Subject};

use crate::on_every_transport;

on_every_transport!(
    gives_the_same_answer_again,
    runs_an_id_at_most_once,
    answers_who_asks_while_it_runs,
    keeps_answers_until_they_are_acknowledged,
    runs_one_call_at_a_time,
    names_what_is_not_valid,
);

async fn gives_the_same_answer_again(place: Place) {
    let subject = Subject::bare(place).await;
    let cell = Cell::new("import os\ncount = globals().get('count', 0) + 1\nos.urandom(8).hex(), count");
    let id = subject.id();
    let first = subject
        .sandbox()
        .execute(id, &cell, &mut |_| {})
        .await
        .expect("it runs");
    let again = subject
        .sandbox()
        .execute(id, &cell, &mut |_| {})
        .await
        .expect("it is known");
    assert_eq!(first, again);
    // Over another connection too, also by another controller.
    let other = subject.take_over(2).await.expect("a higher epoch takes over");
    assert_eq!(
        other.execute(id, &cell, &mut |_| {}).await.expect("it is known"),
        first
    );
    let count = other
        .execute(id.next(), &Cell::new("count"), &mut |_| {})
        .await
        .expect("it runs");
    assert_eq!(count.output, "1\n");
    other.close().await.expect("it closes");
    subject.discard().await;
}

async fn runs_an_id_at_most_once(place: Place) {
    let subject = Subject::bare(place).await;
    let sandbox = subject.sandbox();
    let cell = Cell::new("open('runs', 'a').write('x')");
    sandbox
        .execute(CallId(5), &cell, &mut |_| {})
        .await
        .expect("it runs");
    let other = Cell::new("open('runs', 'a').write('y')");
    let conflict = sandbox.execute(CallId(5), &other, &mut |_| {}).await;
    assert!(
        matches!(conflict, Err(SandboxError::Conflict { id: CallId(5) })),
        "{conflict:?}"
    );
    let lower = sandbox.execute(CallId(4), &other, &mut |_| {}).await;
    assert!(matches!(lower, Err(SandboxError::Forgotten { .. })), "{lower:?}");
    sandbox.acknowledge(CallId(5)).await.expect("it is heard");
    let forgotten = sandbox.execute(CallId(5), &cell, &mut |_| {}).await;
    assert!(
        matches!(forgotten, Err(SandboxError::Forgotten { id: CallId(5) })),
        "{forgotten:?}"
    );
    let runs = sandbox
        .execute(CallId(6), &Cell::new("open('runs').read()"), &mut |_| {})
        .await
        .expect("it runs");
    assert_eq!(runs.output, "'x'\n");
    assert_eq!(sandbox.last_call(), CallId(6));
    subject.close().await;
}

async fn answers_who_asks_while_it_runs(place: Place) {
    let subject = Subject::bare(place).await;
    let id = subject.id();
    let cell = Cell::new("print('begun')\nwhile True: pass");
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    {
        // Who asked first gives up in the middle.
        let mut show = move |_| {
            let _ = sender.send(());
        };
        let running = subject.sandbox().execute(id, &cell, &mut show);
        tokio::select! {
            ended = running => panic!("it must not end: {ended:?}"),
            _ = begun.recv() => {}
        }
    }
    let other = subject.take_over(2).await.expect("a higher epoch takes over");
    let mut seen = String::new();
    let mut show = |chunk: cataloger::sandbox::Chunk| seen.push_str(&chunk.text);
    let waiting = other.execute(id, &cell, &mut show);
    let interrupt = async {
        other.interrupt(id).await.expect("it is heard");
    };
    let (answer, ()) = tokio::join!(waiting, interrupt);
    let answer = answer.expect("it ends");
    assert!(answer.output.starts_with("begun\n"), "{answer:?}");
    assert!(answer.output.starts_with(&seen) && !seen.is_empty(), "{seen:?}");
    other.close().await.expect("it closes");
    subject.discard().await;
}

async fn keeps_answers_until_they_are_acknowledged(place: Place) {
    let subject = Subject::bare(place).await;
    let sandbox = subject.sandbox();
    for number in 1..=16 {
        sandbox
            .execute(CallId(number), &Cell::new(number.to_string()), &mut |_| {})
            .await
            .expect("it runs");
    }
    let full = sandbox.execute(CallId(17), &Cell::new("17"), &mut |_| {}).await;
    assert!(matches!(full, Err(SandboxError::Full { .. })), "{full:?}");
    let kept: Vec<u64> = subject.status().await.kept.iter().map(|id| id.0).collect();
    assert_eq!(kept, (1..=16).collect::<Vec<_>>());
    let fourth = sandbox
        .execute(CallId(4), &Cell::new("4"), &mut |_| {})
        .await
        .expect("it is kept");
    assert_eq!(fourth.output, "4\n");
    sandbox.acknowledge(CallId(10)).await.expect("it is heard");
    sandbox
        .execute(CallId(17), &Cell::new("17"), &mut |_| {})
        .await
        .expect("there is room");
    subject.close().await;
}

async fn runs_one_call_at_a_time(place: Place) {
    let subject = Subject::bare(place).await;
    let sandbox = subject.sandbox();
    let cell = Cell::new("print('begun')\nwhile True: pass");
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let mut show = move |_| {
        let _ = sender.send(());
    };
    let running = sandbox.execute(CallId(1), &cell, &mut show);
    let meanwhile = async {
        begun.recv().await.expect("it begins");
        let busy = sandbox.execute(CallId(2), &Cell::new("2"), &mut |_| {}).await;
        assert!(
            matches!(
                busy,
                Err(SandboxError::Busy {
                    id: CallId(2),
                    running: Some(CallId(1))
                })
            ),
            "{busy:?}"
        );
        assert_eq!(subject.status().await.running, Some(CallId(1)));
        sandbox.interrupt(CallId(1)).await.expect("it is heard");
    };
    let (ended, ()) = tokio::join!(running, meanwhile);
    ended.expect("it ends");
    let second = sandbox
        .execute(CallId(2), &Cell::new("2"), &mut |_| {})
        .await
        .expect("its id was not spent");
    assert_eq!(second.output, "2\n");
    subject.close().await;
}

async fn names_what_is_not_valid(place: Place) {
    let subject = Subject::bare(place).await;
    let sandbox = subject.sandbox();
    for cell in [
        Cell {
            max_rows: 0,
            ..Cell::new("1")
        },
        Cell {
            output_limit: 1,
            ..Cell::new("1")
        },
        Cell {
            output_limit: u32::MAX,
            ..Cell::new("1")
        },
        Cell {
            timeout: std::time::Duration::ZERO,
            ..Cell::new("1")
        },
    ] {
        let refused = sandbox.execute(CallId(1), &cell, &mut |_| {}).await;
        assert!(
            matches!(refused, Err(SandboxError::Invalid { .. })),
            "{refused:?}"
        );
    }
    let zero = sandbox.execute(CallId(0), &Cell::new("1"), &mut |_| {}).await;
    assert!(matches!(zero, Err(SandboxError::Invalid { .. })), "{zero:?}");
    let large = sandbox
        .execute(CallId(1), &Cell::new("#".repeat(17 << 20)), &mut |_| {})
        .await;
    assert!(
        matches!(large, Err(SandboxError::Invalid { .. })),
        "{:?}",
        large.err()
    );
    let fine = sandbox
        .execute(CallId(1), &Cell::new("1"), &mut |_| {})
        .await
        .expect("its id was not spent");
    assert_eq!(fine.output, "1\n");
    subject.close().await;
}
