//! Controllers that come and go: takeovers, broken streams, streams of garbage, daemons that end.

use std::time::Duration;

use cataloger::sandbox::client::{Attach, Client, Connection, Dial, Identity, Timing};
use cataloger::sandbox::{CallId, Cell, InstallationSecret, Loss, Sandbox, SandboxError, Variables};
use cataloger_tests::cutting::Cutting;
use cataloger_tests::place::{Place, RUN, Subject, identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::on_every_transport;

on_every_transport!(
    shuts_out_lower_epochs,
    knows_its_key,
    never_claims_what_it_did_not_make,
    goes_on_over_streams_that_break,
    survives_garbage,
    tells_that_it_was_ended,
);

const MOMENT: Duration = Duration::from_secs(30);

async fn shuts_out_lower_epochs(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("x = 1").await;
    let second = subject.take_over(7).await.expect("a higher epoch takes over");
    let first = subject
        .sandbox()
        .execute(CallId(2), &Cell::new("x = 2"), &mut |_| {})
        .await;
    assert!(
        matches!(first, Err(SandboxError::Superseded { ours: 1, theirs: 7 })),
        "{first:?}"
    );
    let late = subject.take_over(6).await;
    assert!(
        matches!(late, Err(SandboxError::Superseded { ours: 6, theirs: 7 })),
        "{late:?}"
    );
    let answer = second
        .execute(CallId(3), &Cell::new("x"), &mut |_| {})
        .await
        .expect("it drives on");
    assert_eq!(answer.output, "1\n");
    assert_eq!(second.last_call(), CallId(3));
    second.close().await.expect("it closes");
    subject.discard().await;
}

async fn knows_its_key(place: Place) {
    let subject = Subject::bare(place).await;
    let boot = subject.sandbox().boot();
    let strangers = [
        Identity {
            secret: InstallationSecret::new(*b"another installation"),
            ..identity(9)
        },
        Identity {
            run: format!("{RUN}x"),
            ..identity(9)
        },
    ];
    for stranger in strangers {
        for attach in [
            Attach::Existing {
                boot: Some(boot.clone()),
            },
            Attach::New {
                env: Variables::default(),
            },
        ] {
            let refused = Client::connect(subject.dial(), stranger.clone(), attach, Timing::default()).await;
            assert!(matches!(refused, Err(SandboxError::ProofRefused)), "{refused:?}");
        }
    }
    assert_eq!(subject.output("1").await, "1\n");
    subject.close().await;
}

async fn never_claims_what_it_did_not_make(place: Place) {
    // A daemon of another boot, and one that nobody has claimed, are no sandbox of this run.
    let subject = Subject::bare(place).await;
    let other = Subject::bare(place).await;
    let attach = Attach::Existing {
        boot: Some(subject.sandbox().boot()),
    };
    let restarted = Client::connect(other.dial(), identity(2), attach, Timing::default()).await;
    assert!(
        matches!(restarted, Err(SandboxError::Lost(Loss::Restarted { .. }))),
        "{restarted:?}"
    );
    other.close().await;
    subject.close().await;
}

async fn goes_on_over_streams_that_break(place: Place) {
    let subject = Subject::bare(place).await;
    let dial = Cutting::new(subject.dial(), 42, 1500);
    let cuts = dial.cuts();
    let attach = Attach::Existing {
        boot: Some(subject.sandbox().boot()),
    };
    let client = Client::connect(dial, identity(2), attach, Timing::default())
        .await
        .expect("it connects");
    for number in 1..=40_u64 {
        let cell = Cell::new(format!(
            "print('{number}' * {number})\nlog = globals().get('log', []) + [{number}]"
        ));
        let executed = client
            .execute(CallId(number), &cell, &mut |_| {})
            .await
            .expect("it gets through");
        assert_eq!(
            executed.output.trim(),
            number
                .to_string()
                .repeat(usize::try_from(number).expect("it is small"))
        );
        client.acknowledge(CallId(number)).await.expect("it gets through");
    }
    let log = client
        .execute(CallId(41), &Cell::new("log == list(range(1, 41))"), &mut |_| {})
        .await
        .expect("it runs");
    assert_eq!(log.output, "True\n");
    assert!(cuts.load(std::sync::atomic::Ordering::Relaxed) > 5);
    client.close().await.expect("it closes");
    subject.discard().await;
}

async fn survives_garbage(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("x = 'still here'").await;
    let frame = |body: &[u8]| {
        [
            &u32::try_from(body.len()).expect("it is short").to_be_bytes(),
            body,
        ]
        .concat()
    };
    for (garbage, code) in [
        (u32::MAX.to_be_bytes().to_vec(), "frame"),
        (frame(b"no json"), "frame"),
        (frame(b"[]"), "frame"),
        (frame(br#"{"type":"execute","id":1,"code":"1"}"#), "frame"),
        (frame(br#"{"type":"hello","protocol":99,"epoch":9,"nonce":"00000000000000000000000000000000","proof":"00"}"#), "protocol"),
        (frame(br#"{"type":"hello","protocol":1,"epoch":9,"nonce":"00000000000000000000000000000000","proof":"00"}"#), "proof"),
        (
            frame(format!(
                r#"{{"type":"hello","protocol":1,"epoch":9,"nonce":"00000000000000000000000000000000","proof":"00","claim":{{"key":"{}","env":{{}}}}}}"#,
                "0".repeat(64)
            ).as_bytes()),
            "claimed",
        ),
    ] {
        let Connection { mut reader, mut writer, guard: _guard } = subject.dial().dial().await.expect("it answers");
        writer.write_all(&garbage).await.expect("it listens");
        writer.flush().await.expect("it listens");
        let mut said = Vec::new();
        timeout(MOMENT, reader.read_to_end(&mut said)).await.expect("it closes").expect("it closes well");
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(r#""type":"refused""#) && said.contains(&format!(r#""code":"{code}""#)), "{said}");
    }
    // Half a frame, and then nothing: whoever holds the key is not kept waiting.
    let half = subject.dial().dial().await.expect("it answers");
    let Connection { mut writer, .. } = half;
    writer.write_all(&[0, 0, 1]).await.expect("it listens");
    assert_eq!(subject.output("x").await, "'still here'\n");
    subject.close().await;
}

async fn tells_that_it_was_ended(place: Place) {
    let subject = Subject::bare(place).await;
    let short = Timing {
        outage: Duration::from_secs(3),
        ..Timing::default()
    };
    let attach = Attach::Existing {
        boot: Some(subject.sandbox().boot()),
    };
    let client = Client::connect(subject.dial(), identity(2), attach, short)
        .await
        .expect("it connects");
    let running = Cell::new("print('begun')\nwhile True: pass");
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let mut show = move |_| {
        let _ = sender.send(());
    };
    let call = client.execute(CallId(1), &running, &mut show);
    let end = async {
        begun.recv().await.expect("it begins");
        subject.kill_daemon().await;
    };
    let (ended, ()) = tokio::join!(call, end);
    let ended = ended.expect_err("its sandbox is gone");
    assert!(matches!(ended, SandboxError::Lost(_)), "{ended}");
    let later = client
        .execute(CallId(2), &Cell::new("1"), &mut |_| {})
        .await
        .expect_err("it stays so");
    assert!(matches!(later, SandboxError::Lost(_)), "{later}");
    subject.discard().await;
}
