//! What code in the session can't do, though it runs under the daemon's uid.

use cataloger::sandbox::{Cell, State, Status};
use cataloger_tests::place::{Place, Subject, Wish};

use crate::on_every_transport;

on_every_transport!(
    cant_speak_to_the_daemon,
    cant_read_or_trace_the_trusted_processes,
    cant_forge_or_hide_a_result,
    cant_stop_the_daemon,
    cant_spoil_the_next_session,
    sees_the_secret_only_in_its_environment,
);

const SECRET: &str = "postgresql://u:a-very-secret-word@db/shop";

/// Finds the daemon, the preloader and the thin clients.
const FIND: &str = "
import os
def uid(pid):
    try:
        return next(int(l.split()[1]) for l in open(f'/proc/{pid}/status') if l.startswith('Uid:'))
    except (OSError, StopIteration):
        return -1
def cmdline(pid):
    try:
        return open(f'/proc/{pid}/cmdline').read().split('\\0')
    except OSError:
        return []
trusted = {}
for name in os.listdir('/proc'):
    if name.isdigit() and uid(name) == os.getuid():
        words = cmdline(name)
        for role in ('daemon', 'preloader', 'connect'):
            if role in words[:6] and int(name) != os.getpid():
                trusted.setdefault(role, []).append(int(name))
trusted['daemon'] = [os.getppid()]
words = cmdline(os.getppid())
socket_name = words[words.index('--socket') + 1] if '--socket' in words else 'cataloger-sandbox'
";

async fn subject(place: Place) -> Subject {
    Subject::start(
        place,
        Wish {
            env: vec![("DATABASE_URL".into(), SECRET.into())],
            ..Wish::default()
        },
    )
    .await
}

async fn cant_speak_to_the_daemon(place: Place) {
    let subject = subject(place).await;
    subject.output(FIND).await;
    let heard = subject
        .output(
            "import socket, subprocess, sys\n\
             names = ['@' + socket_name]\n\
             heard = []\n\
             def ask(name):\n    \
             s = socket.socket(socket.AF_UNIX); s.settimeout(10)\n    \
             try:\n        s.connect('\\0' + name[1:]); heard.append(s.recv(1000))\n    \
             except OSError as e:\n        heard.append(type(e).__name__)\n\
             for name in names: ask(name)\n\
             # From a grandchild that its parents left behind, too.\n\
             script = '''import os, socket, sys, time\n\
             if os.fork() == 0:\n    \
             while os.getppid() != int(sys.argv[2]): time.sleep(0.01)\n    \
             s = socket.socket(socket.AF_UNIX); s.settimeout(10)\n    \
             try:\n        s.connect(chr(0) + sys.argv[1]); data = s.recv(1000)\n    \
             except OSError as e: data = type(e).__name__.encode()\n    \
             open('orphan', 'wb').write(data); os.rename('orphan', 'orphan-' + sys.argv[3])\n'''\n\
             for n, name in enumerate(names):\n    \
             subprocess.run([sys.executable, '-c', script, name[1:], str(trusted['daemon'][0]), str(n)])\n    \
             while not os.path.exists(f'orphan-{n}'): pass\n    \
             heard.append(open(f'orphan-{n}', 'rb').read())\n\
             len(names) > 0, [h for h in heard if h not in (b'', 'ConnectionResetError', b'ConnectionResetError')]",
        )
        .await;
    assert_eq!(heard, "(True, [])\n");
    subject.close().await;
}

async fn cant_read_or_trace_the_trusted_processes(place: Place) {
    let subject = subject(place).await;
    subject.output(FIND).await;
    let opened = subject
        .output(
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nopened = []\n\
             for role, pids in trusted.items():\n    for pid in pids:\n        \
             for name in ('mem', 'environ', 'maps', 'smaps', 'auxv', 'stack', 'syscall', 'io', 'pagemap'):\n            \
             try:\n                with open(f'/proc/{pid}/{name}', 'rb') as f: f.read(1)\n                opened.append((role, name))\n            \
             except OSError: pass\n        \
             for name in ('fd', 'map_files', 'task/%d/fd' % pid):\n            \
             try: os.listdir(f'/proc/{pid}/{name}'); opened.append((role, name))\n            \
             except OSError: pass\n        \
             for name in ('exe', 'cwd', 'root'):\n            \
             try: os.readlink(f'/proc/{pid}/{name}'); opened.append((role, name))\n            \
             except OSError: pass\n        \
             for request in (16, 0x4206):\n            \
             if libc.ptrace(request, pid, 0, 0) == 0: opened.append((role, 'ptrace'))\n        \
             buffer = ctypes.create_string_buffer(8)\n        \
             vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)\n        \
             if libc.process_vm_readv(pid, vector, 1, vector, 1, 0) >= 0: opened.append((role, 'vm'))\n        \
             fd = libc.pidfd_open(pid, 0) if hasattr(libc, 'pidfd_open') else libc.syscall(434, pid, 0)\n        \
             if fd >= 0 and libc.syscall(438, fd, 3, 0) >= 0: opened.append((role, 'pidfd_getfd'))\n\
             sorted(trusted), opened",
        )
        .await;
    assert_eq!(opened, "(['connect', 'daemon', 'preloader'], [])\n");
    subject.close().await;
}

/// A thin client in code's hands would outlive a reset: it is none of the session's processes. Of the image
/// only: on this machine, what Python is there can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cant_seize_a_thin_client_as_it_starts() {
    crate::within_deadline(async {
        let subject = subject(Place::Pod).await;
        subject.output(FIND).await;
        // Ends one thin client after the other, and lies in wait for the next from before its exec on.
        let seized = subject
            .output(
                "import ctypes, time\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                 libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n\
                 known, met, seized = set(map(str, trusted['daemon'] + trusted['preloader'])) | {str(os.getpid())}, 0, 0\n\
                 end = time.monotonic() + 15\n\
                 while met < 4 and time.monotonic() < end:\n    \
                 for name in [n for n in os.listdir('/proc') if n.isdigit() and n not in known]:\n        \
                 known.add(name)\n        until = time.monotonic() + 0.3\n        \
                 while time.monotonic() < until and os.path.exists(f'/proc/{name}'):\n            \
                 if libc.ptrace(0x4206, int(name), None, None) == 0:\n                seized += 1\n                break\n        \
                 met += 'connect' in cmdline(name)[:6]\n        \
                 try: os.kill(int(name), 9)\n        except OSError: pass\n\
                 met, seized",
            )
            .await;
        assert_eq!(seized, "(4, 0)\n");
        subject.close().await;
    })
    .await;
}

async fn cant_forge_or_hide_a_result(place: Place) {
    let subject = subject(place).await;
    // To every descriptor that it can find it writes what its own channel would carry.
    let forge = "import json, os, struct\n\
         def frame(m):\n    b = json.dumps(m).encode()\n    return struct.pack('>I', len(b)) + b\n\
         lies = [{'type': 'done', 'nonce': '0' * 32, 'ok': True, 'error': None}, {'type': 'ready'},\n        \
         {'type': 'result', 'id': 99, 'ok': True, 'status': 'ok', 'output': 'forged'}, {'type': 'ack', 'through': 99}]\n\
         for fd in map(int, os.listdir('/proc/self/fd')):\n    \
         for lie in lies:\n        try: os.write(fd, frame(lie))\n        except OSError: pass\n\
         print('honest')";
    let executed = subject.run(forge).await;
    assert_eq!(
        (executed.ok, executed.status, executed.state),
        (false, Status::Corrupted, State::Lost),
        "{executed:?}"
    );
    assert_eq!(subject.output("'next'").await, "'next'\n");
    // The same from a thread, between two calls.
    subject
        .run(&format!(
            "import os, threading\ndef later():\n    while not os.path.exists('go'): pass\n    exec({forge:?}, {{}})\nthreading.Thread(target=later).start()"
        ))
        .await;
    let generation = subject.status().await.generation;
    subject.touch("go").await;
    while subject.status().await.generation == generation {
        tokio::task::yield_now().await;
    }
    let next = subject.run("'honest'").await;
    assert_eq!(next.output, "'honest'\n");
    assert!(next.notice.is_some_and(|notice| notice.contains("channel")));
    // Killing thin clients hides nothing: the controller connects again and gets the answer.
    subject.output(FIND).await;
    let answer = subject
        .cell(Cell::new(
            "import signal, time\nend = time.monotonic() + 1\nkilled = 0\nwhile time.monotonic() < end:\n    \
             for name in os.listdir('/proc'):\n        \
             if name.isdigit() and 'connect' in cmdline(name)[:6]:\n            \
             try: os.kill(int(name), signal.SIGKILL); killed += 1\n            except OSError: pass\n    time.sleep(0.05)\n\
             print('killed some:', killed > 0)",
        ))
        .await;
    assert_eq!(answer.output, "killed some: True\n");
    subject.close().await;
}

async fn cant_stop_the_daemon(place: Place) {
    let subject = subject(place).await;
    let boot = subject.sandbox().boot();
    let signals = match place {
        // PID 1 of a container is out of reach of every signal from within.
        Place::Pod => "'TERM', 'INT', 'HUP', 'KILL', 'STOP', 'ABRT', 'SEGV', 'USR1', 'PIPE'",
        // Elsewhere it can be killed by its own uid (the docs say so), but not told to stop.
        Place::Local => "'TERM', 'INT', 'HUP', 'PIPE'",
    };
    subject.output(FIND).await;
    let sent = subject
        .output(&format!(
            "import signal\ndaemon = trusted['daemon'][0]\nfor name in ({signals}):\n    \
             number = getattr(signal, 'SIG' + name)\n    os.kill(daemon, number)\n    \
             if os.fork() == 0:\n        \
             # From a child that is gone before the daemon looks who it was.\n        \
             os.kill(daemon, number)\n        os._exit(0)\n'sent'"
        ))
        .await;
    assert_eq!(sent, "'sent'\n");
    let status = subject.status().await;
    assert_eq!(status.boot, boot);
    assert_eq!(subject.output("1").await, "1\n");
    subject.close().await;
}

async fn cant_spoil_the_next_session(place: Place) {
    let subject = subject(place).await;
    subject.output(FIND).await;
    let changed = subject
        .output(
            "import resource, signal\nchanged = []\n\
             acts = [lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0)),\n    \
             lambda pid: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)),\n    \
             lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19), lambda pid: os.setpriority(os.PRIO_USER, 0, 19),\n    \
             lambda pid: os.sched_setaffinity(pid, {0})]\n\
             for pid in trusted['preloader'] + trusted['daemon']:\n    \
             for n, act in enumerate(acts):\n        \
             try: act(pid); changed.append(n)\n        except PermissionError: pass\n\
             for pid in trusted['preloader']: os.kill(pid, signal.SIGSTOP)\nchanged",
        )
        .await;
    assert_eq!(changed, "[]\n");
    assert!(subject.reset(&[]).await.ok);
    assert_eq!(
        subject
            .output("import os, resource\nopen('f', 'w').write('x' * 10), os.nice(0) in (0, 19), resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 20")
            .await,
        "(10, True, True)\n"
    );
    subject.output(FIND).await;
    subject
        .output("import signal\nfor pid in trusted['preloader']: os.kill(pid, signal.SIGKILL)")
        .await;
    assert_eq!(subject.output("'it lives'").await, "'it lives'\n");
    assert!(subject.reset(&[]).await.ok);
    assert_eq!(subject.output("'and the next one'").await, "'and the next one'\n");
    subject.close().await;
}

async fn sees_the_secret_only_in_its_environment(place: Place) {
    let subject = subject(place).await;
    let found = subject
        .output(
            "import os\nword = 'a-very-' + 'secret-word'\nfound = []\n\
             for name in os.listdir('/proc'):\n    if name.isdigit():\n        for file in ('cmdline', 'environ'):\n            \
             try:\n                if word in open(f'/proc/{name}/{file}').read(): found.append((name, file))\n            \
             except OSError: pass\n\
             word in os.environ['DATABASE_URL'], found",
        )
        .await;
    assert_eq!(found, "(True, [])\n");
    let shown = format!("{:?} {:?}", subject, subject.status().await);
    assert!(!shown.contains("secret"));
    subject.close().await;
}
