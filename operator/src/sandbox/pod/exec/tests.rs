//! How kube's exec behaves when streams end, against a server that speaks the API server's websocket protocol.
//!
//! The first six tests are about kube alone: they are the gate for another version of it. Some say what is not
//! nice, and is built around here; one that fails with a later kube says what has to be looked at.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::*;

const LARGE: usize = 100_000;
const DEADLINE: Duration = Duration::from_secs(10);
/// Long enough to tell what hangs from what does not, on a busy machine too: nothing here takes a millisecond.
const HANGS: Duration = Duration::from_millis(500);

type Socket = WebSocketStream<TcpStream>;

struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    /// Answers one exec by a scene.
    async fn playing<F: Future<Output = ()> + Send + 'static>(
        scene: impl FnOnce(Socket) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let asking = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            // Whoever asks about the Pod gets no answer.
            let socket = loop {
                let (stream, _) = listener.accept().await.unwrap();
                let asking = Arc::clone(&asking);
                #[expect(clippy::result_large_err, reason = "the library's own type")]
                let callback = move |request: &Request, mut response: Response| {
                    asking.lock().unwrap().push(request.uri().to_string());
                    let protocol = HeaderValue::from_static("v5.channel.k8s.io");
                    response.headers_mut().insert("sec-websocket-protocol", protocol);
                    Ok(response)
                };
                if let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, callback).await {
                    break socket;
                }
            };
            let refuse = async {
                while let Ok(connection) = listener.accept().await {
                    drop(connection);
                }
            };
            tokio::select! {
                () = scene(socket) => {}
                () = refuse => {}
            }
        })
        .abort_handle();
        Self {
            address,
            asked,
            serving,
        }
    }

    fn pods(&self) -> Api<Pod> {
        let config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        Api::namespaced(kube::Client::try_from(config).unwrap(), "sandboxes")
    }

    fn dial(&self) -> ExecDial {
        ExecDial::new(self.pods(), "sandbox-shop", "1")
    }

    async fn exec(&self, streams: &AttachParams) -> AttachedProcess {
        self.pods().exec("sandbox-shop", ["cat"], streams).await.unwrap()
    }
}

fn all_streams() -> AttachParams {
    AttachParams::default().stdin(true).stdout(true).stderr(true)
}

fn without_stderr() -> AttachParams {
    all_streams().stderr(false)
}

fn frame(channel: u8, data: &[u8]) -> Message {
    Message::Binary(Bytes::from([&[channel], data].concat()))
}

async fn say(socket: &mut Socket, channel: u8, size: usize) {
    for part in vec![b'x'; size].chunks(8_000) {
        socket.send(frame(channel, part)).await.unwrap();
    }
}

async fn status(socket: &mut Socket, status: serde_json::Value) {
    socket
        .send(frame(3, status.to_string().as_bytes()))
        .await
        .unwrap();
    let _ = socket.close(None).await;
}

/// Until the other side is gone.
async fn wait(mut socket: Socket) {
    while let Some(Ok(_)) = socket.next().await {}
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it does not hang")
}

async fn rest(reader: &mut (impl AsyncRead + Unpin)) -> usize {
    let mut all = Vec::new();
    soon(reader.read_to_end(&mut all)).await.unwrap();
    all.len()
}

#[tokio::test]
async fn kube_ends_the_output_when_the_connection_drops() {
    let server = Server::playing(async |mut socket: Socket| {
        say(&mut socket, 1, LARGE).await;
        drop(socket);
    })
    .await;
    let mut process = server.exec(&without_stderr()).await;
    let mut stdout = process.stdout().unwrap();
    assert_eq!(rest(&mut stdout).await, LARGE);
    assert!(soon(process.take_status().unwrap()).await.is_none());
}

#[tokio::test]
async fn kube_ends_the_output_when_the_process_is_dropped() {
    let server = Server::playing(async |mut socket: Socket| {
        say(&mut socket, 1, 1).await;
        wait(socket).await;
    })
    .await;
    let mut process = server.exec(&without_stderr()).await;
    let mut stdout = process.stdout().unwrap();
    soon(stdout.read_u8()).await.unwrap();
    drop(process);
    assert_eq!(rest(&mut stdout).await, 0);
}

#[tokio::test]
async fn kube_tells_the_other_side_that_stdin_has_ended() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let server = Server::playing(async |mut socket: Socket| {
        let mut frames = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            frames.push(message.into_data().to_vec());
            if frames.last().is_some_and(|it| it.first() == Some(&255)) {
                break;
            }
        }
        tell.send(frames).unwrap();
    })
    .await;
    let mut process = server.exec(&without_stderr()).await;
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"abc").await.unwrap();
    drop(stdin);
    let frames = soon(told).await.unwrap();
    assert_eq!(frames, [b"\0abc".to_vec(), vec![255, 0]]);
}

#[tokio::test]
async fn kube_joins_with_an_error_when_output_was_not_read() {
    let server = Server::playing(async |mut socket: Socket| {
        say(&mut socket, 1, LARGE).await;
        wait(socket).await;
    })
    .await;
    let process = server.exec(&without_stderr()).await;
    assert!(soon(process.join()).await.is_err());
}

#[tokio::test]
async fn kube_holds_stdout_back_while_stderr_is_not_read() {
    let server = Server::playing(async |mut socket: Socket| {
        say(&mut socket, 2, LARGE).await;
        say(&mut socket, 1, 1).await;
        wait(socket).await;
    })
    .await;
    let mut process = server.exec(&all_streams()).await;
    let (mut stdout, mut stderr) = (process.stdout().unwrap(), process.stderr().unwrap());
    assert!(timeout(HANGS, stdout.read_u8()).await.is_err());
    let mut said = vec![0; LARGE];
    soon(stderr.read_exact(&mut said)).await.unwrap();
    assert_eq!(soon(stdout.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn kube_tells_the_status_when_output_was_read() {
    let server = Server::playing(async |mut socket: Socket| {
        say(&mut socket, 1, LARGE).await;
        status(&mut socket, json!({"status": "Success"})).await;
        wait(socket).await;
    })
    .await;
    let mut process = server.exec(&without_stderr()).await;
    let mut stdout = process.stdout().unwrap();
    assert_eq!(rest(&mut stdout).await, LARGE);
    let told = soon(process.take_status().unwrap()).await.unwrap();
    assert_eq!(told.status.as_deref(), Some("Success"));
}

#[tokio::test]
async fn a_dial_asks_for_the_thin_client_with_all_streams() {
    let server = Server::playing(wait).await;
    let _connection = soon(server.dial().dial()).await.unwrap();
    let asked = server.asked.lock().unwrap().join("");
    for part in [
        "/pods/sandbox-shop/exec",
        "container=sandbox",
        "stdin=true",
        "stdout=true",
        "command=connect",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
}

#[tokio::test]
async fn a_connection_reads_what_comes_however_much_is_said_on_stderr() {
    let server = Server::playing(async |mut socket: Socket| {
        say(&mut socket, 2, 10 * LARGE).await;
        say(&mut socket, 1, 10 * LARGE).await;
        status(&mut socket, json!({"status": "Success"})).await;
        wait(socket).await;
    })
    .await;
    let mut connection = soon(server.dial().dial()).await.unwrap();
    assert_eq!(rest(&mut connection.reader).await, 10 * LARGE);
}

#[tokio::test]
async fn a_connection_explains_what_its_process_said() {
    let server = Server::playing(async |mut socket: Socket| {
        socket.send(frame(2, b"connect: no daemon\n")).await.unwrap();
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode",
                            "message": "command terminated with non-zero exit code"});
        status(&mut socket, failed).await;
        wait(socket).await;
    })
    .await;
    let mut connection = soon(server.dial().dial()).await.unwrap();
    assert_eq!(rest(&mut connection.reader).await, 0);
    assert_eq!(
        soon(connection.guard.explain()).await.unwrap(),
        "connect: no daemon (command terminated with non-zero exit code)"
    );
}

#[tokio::test]
async fn a_connection_that_was_lost_explains_nothing() {
    let server = Server::playing(async |socket: Socket| drop(socket)).await;
    let mut connection = soon(server.dial().dial()).await.unwrap();
    assert_eq!(rest(&mut connection.reader).await, 0);
    assert_eq!(soon(connection.guard.explain()).await, None);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_out_of_reach() {
    let server = Server::playing(wait).await;
    let dial = server.dial();
    drop(server);
    let error = loop {
        // Until its socket is closed it takes connections, and says nothing.
        if let Ok(Err(error)) = timeout(HANGS, dial.dial()).await {
            break error;
        }
    };
    assert!(matches!(error, DialError::Unreachable(_)), "{error}");
}
