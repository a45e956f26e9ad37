//! Between two agents: nothing of the first is left for the second.

use cataloger::sandbox::State;
use cataloger_tests::place::{Place, Subject};

use crate::on_every_transport;

on_every_transport!(
    ends_every_process_and_forgets_the_namespace,
    empties_every_writable_directory,
    forgets_the_environment,
    keeps_files_when_the_session_is_lost,
    keeps_the_preloader_when_a_large_session_ends,
    puts_files_for_the_next_session,
);

async fn ends_every_process_and_forgets_the_namespace(place: Place) {
    let subject = Subject::bare(place).await;
    subject
        .output(
            "import os, subprocess, sys\nsecret = 'of the first'\n\
             # Orphans, daemons that left the group, and one that ignores what can be ignored.\n\
             subprocess.Popen('setsid sleep 300 & (trap \"\" TERM INT HUP; sleep 300) &', shell=True).wait()\n\
             for _ in range(20):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            \
             import time; time.sleep(300)\n        os._exit(0)",
        )
        .await;
    // Some of them are still on their way.
    while subject.status().await.processes <= 20 {
        tokio::task::yield_now().await;
    }
    let reset = subject.reset(&[]).await;
    assert!(reset.ok, "{reset:?}");
    assert_eq!(subject.status().await.processes, 1);
    let next = subject.run("secret").await;
    assert_eq!(next.error.expect("it is gone").name, "NameError");
    assert_eq!(next.background, None);
    subject.close().await;
}

async fn empties_every_writable_directory(place: Place) {
    let subject = Subject::bare(place).await;
    let litter = "import os, socket, tempfile\n\
         places = ['.', tempfile.gettempdir(), os.path.expanduser('~')]\n\
         shared = [p for p in ('/tmp', '/var/tmp', '/dev/shm', '/dev/mqueue') if os.access(p, os.W_OK)]\n\
         for place in sorted({os.path.realpath(p) for p in places + shared}):\n    \
         base = f'{place}/litter' if place != '/dev/mqueue' else '/dev/mqueue/litter'\n    \
         open(base, 'w').close() if place == '/dev/mqueue' else os.makedirs(base + '/a/b/c', exist_ok=True)\n    \
         if place != '/dev/mqueue':\n        \
         os.symlink('/etc/passwd', base + '/link'); os.mkfifo(base + '/pipe')\n        \
         open(base + '/a/file', 'w').write('x' * 1000); os.chmod(base + '/a/b', 0)\n    \
         os.chmod(base, 0)\n\
         here = os.open('.', os.O_RDONLY)\nos.makedirs('d', exist_ok=True)\nos.chdir('d')\n\
         for _ in range(2000):\n    os.mkdir('d')\n    os.chdir('d')\n\
         os.fchdir(here)\nsorted(set(places + shared))";
    subject.output(litter).await;
    let reset = subject.reset(&[]).await;
    assert!(reset.ok, "{reset:?}");
    let left = subject
        .output(
            "import os, tempfile\n\
             places = {'.', tempfile.gettempdir(), os.path.expanduser('~'), '/tmp', '/var/tmp', '/dev/shm', '/dev/mqueue'}\n\
             [(p, n) for p in sorted(places) if os.path.isdir(p) for n in os.listdir(p) if n in ('litter', 'd')]",
        )
        .await;
    assert_eq!(left, "[]\n");
    assert_eq!(
        subject
            .output("import os\nos.listdir('.'), os.listdir(os.path.expanduser('~'))")
            .await,
        "([], [])\n"
    );
    subject.close().await;
}

async fn forgets_the_environment(place: Place) {
    let subject = Subject::start(
        place,
        cataloger_tests::place::Wish {
            env: vec![("DATABASE_URL".into(), "postgresql://u:first@h/d".into())],
            ..Default::default()
        },
    )
    .await;
    assert_eq!(
        subject.output("import os\nos.environ['DATABASE_URL']").await,
        "'postgresql://u:first@h/d'\n"
    );
    // It is there for the session that follows a lost one, ...
    assert_eq!(subject.run("os._exit(1)").await.state, State::Lost);
    assert_eq!(
        subject.output("import os\nos.environ['DATABASE_URL']").await,
        "'postgresql://u:first@h/d'\n"
    );
    // ... and gone after a reset that does not name it.
    subject.reset(&[("OTHER", "x")]).await;
    assert_eq!(
        subject
            .output("import os\nos.environ.get('DATABASE_URL'), os.environ['OTHER']")
            .await,
        "(None, 'x')\n"
    );
    let failed = subject.run("connect_database()").await;
    assert!(
        failed.output.contains("DATABASE_URL is not set"),
        "{}",
        failed.output
    );
    subject.close().await;
}

/// A session with much memory takes its time to end: no reason to end all that there is.
async fn keeps_the_preloader_when_a_large_session_ends(place: Place) {
    let subject = Subject::bare(place).await;
    // Others' processes come and go meanwhile.
    let preloader = "import os\n\
         def told(pid, name):\n    try: return open(f'/proc/{pid}/{name}').read()\n    except OSError: return ''\n\
         [pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) != os.getpid()\n \
         and f'\\nPPid:\\t{os.getppid()}\\n' in told(pid, 'status') and 'preloader' in told(pid, 'cmdline')]";
    let before = subject.output(preloader).await;
    subject.output("x = bytearray(b'1') * (500 << 20)").await;
    assert!(subject.reset(&[]).await.ok);
    assert_eq!(subject.output(preloader).await, before);
    subject.close().await;
}

async fn keeps_files_when_the_session_is_lost(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("open('notes', 'w').write('kept')").await;
    assert_eq!(subject.run("import os\nos._exit(1)").await.state, State::Lost);
    assert_eq!(subject.output("open('notes').read()").await, "'kept'\n");
    subject.close().await;
}

async fn puts_files_for_the_next_session(place: Place) {
    let subject = Subject::bare(place).await;
    let page: Vec<u8> = (0..3_000_000u32)
        .map(|n| u8::try_from(n % 251).expect("it is below 251"))
        .collect();
    let (first, second) = page.split_at(2_000_000);
    let sandbox = subject.sandbox();
    for (path, part, append, size) in [
        ("earlier/20261101T000000Z/catalog.html", first, false, 2_000_000),
        ("earlier/20261101T000000Z/catalog.html", second, true, 3_000_000),
    ] {
        let id = subject.id();
        let put = sandbox
            .put_file(id, path, part.to_vec().into(), append)
            .await
            .expect("it is answered");
        assert!(put.ok && put.size == size, "{put:?}");
        sandbox.acknowledge(id).await.expect("it is heard");
    }
    assert_eq!(
        subject
            .output(
                "data = open('earlier/20261101T000000Z/catalog.html', 'rb').read()\n\
                 data == bytes(n % 251 for n in range(3_000_000))"
            )
            .await,
        "True\n"
    );
    // Code can't make the daemon write elsewhere, or wait.
    subject.output("import os\nos.symlink('/tmp', 'away')\nos.symlink('/proc/self/mem', 'memory')\nos.mkfifo('pipe')").await;
    let escaped = format!("put-{}", std::process::id());
    let away = format!("away/{escaped}");
    for path in [away.as_str(), "memory", "pipe"] {
        let id = subject.id();
        let append = path != away;
        let put = sandbox
            .put_file(id, path, b"x".to_vec().into(), append)
            .await
            .expect("it is answered");
        assert!(!put.ok, "{path}: {put:?}");
        sandbox.acknowledge(id).await.expect("it is heard");
    }
    for path in ["../x", "/x", "a//b", "a/./b", ""] {
        let refused = sandbox
            .put_file(subject.id(), path, b"x".to_vec().into(), false)
            .await;
        assert!(refused.is_err(), "{path}: {refused:?}");
    }
    let temporary = subject
        .output("os.listdir('/tmp') if os.access('/tmp', os.R_OK) else []")
        .await;
    assert!(!temporary.contains(&escaped), "{temporary}");
    subject.close().await;
}
