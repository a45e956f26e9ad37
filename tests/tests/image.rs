//! The operator's image: what is in it, and that it runs as a Pod under the restricted profile would run it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use cataloger_tests::container::last_line;
use cataloger_tests::oci::{self, Contained};
use cataloger_tests::s3;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// As the Dockerfile has it.
const USER: u32 = 65532;
const TIME: Duration = Duration::from_mins(1);

/// The directory with the image's root file system, built at the first call.
async fn root_filesystem() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT
        .get_or_init(|| async {
            if let Ok(given) = std::env::var("CATALOGER_TEST_OPERATOR_ROOTFS") {
                return PathBuf::from(given);
            }
            PathBuf::from(last_line("operator/image", &["--rootfs"]).await)
        })
        .await
}

/// Runs the image's program to its end.
async fn run(
    arguments: &[&str],
    environment: &[&str],
    mounts: &[(PathBuf, PathBuf)],
    network: bool,
) -> Output {
    let bundle = tempfile::tempdir().expect("a directory");
    let state = tempfile::tempdir().expect("a directory");
    let id = format!("cataloger-test-image-{:08x}", rand::random::<u32>());
    // Where something is mounted `runc` makes a file or a directory, as containerd does in a layer of the container's.
    let root = bundle.path().join("root");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(root_filesystem().await)
        .arg(&root)
        .status()
        .await;
    assert!(copied.expect("cp starts").success());
    let arguments: Vec<_> = [&["/usr/bin/cataloger"], arguments].concat();
    let configuration = oci::configuration(&Contained {
        root: &root,
        id: &id,
        user: USER,
        arguments: &arguments,
        environment,
        directory: "/",
        scratch: &[],
        mounts,
        network,
        memory: Some(256 << 20),
    });
    std::fs::write(bundle.path().join("config.json"), configuration.to_string()).expect("a file");
    let running = Command::new("runc")
        .arg("--root")
        .arg(state.path())
        .args(["run", "--bundle"])
        .arg(bundle.path())
        .arg(&id)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    timeout(TIME, running)
        .await
        .expect("it ends in time")
        .expect("runc starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is below a directory and no directory, by name.
fn files(directory: &Path, below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let about = path.symlink_metadata().expect("it can be read");
        if about.is_dir() {
            found.extend(files(&path, below));
        } else {
            let name = path
                .strip_prefix(below)
                .expect("it is below")
                .to_string_lossy()
                .into_owned();
            found.push(name);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn it_holds_the_program_and_four_files() {
    let root = root_filesystem().await;
    assert_eq!(
        files(root, root),
        [
            "etc/group",
            "etc/nsswitch.conf",
            "etc/passwd",
            "etc/ssl/certs/ca-certificates.crt",
            "usr/bin/cataloger"
        ]
    );
}

#[tokio::test]
async fn it_runs_without_rights_on_a_root_that_it_cannot_write() {
    let output = run(&["--version"], &[], &[], false).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), "cataloger 0.1.0");
}

#[tokio::test]
async fn it_trusts_what_everybody_trusts_and_nothing_of_this_machine() {
    let certificates = |path: &Path| {
        let bundle = std::fs::read_to_string(path).expect("a bundle");
        let blocks: Vec<_> = bundle
            .split_inclusive("-----END CERTIFICATE-----")
            .map(str::trim)
            .map(str::to_owned)
            .collect();
        blocks
            .into_iter()
            .filter(|block| !block.is_empty())
            .collect::<Vec<_>>()
    };
    let bundle = certificates(&root_filesystem().await.join("etc/ssl/certs/ca-certificates.crt"));
    assert!(bundle.len() > 100, "{}", bundle.len());
    for entry in std::fs::read_dir("/usr/local/share/ca-certificates")
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if path.is_file() {
            for added in certificates(&path) {
                assert!(!bundle.contains(&added), "{}", path.display());
            }
        }
    }
}

/// Answers questions for the one name with the loopback's address, and says that there is no other.
fn name_server(name: &'static str) -> SocketAddr {
    // A resolver asks port 53 only; each test has an address of its own.
    let (socket, address) = (2..250)
        .map(|last| SocketAddr::from((Ipv4Addr::new(127, 77, 53, last), 53)))
        .find_map(|address| Some((UdpSocket::bind(address).ok()?, address)))
        .expect("port 53 of some address of the loopback");
    std::thread::spawn(move || {
        let wanted: Vec<u8> = name
            .split('.')
            .flat_map(|label| {
                [
                    &[u8::try_from(label.len()).expect("it is short")],
                    label.as_bytes(),
                ]
                .concat()
            })
            .chain([0])
            .collect();
        let mut buffer = [0; 512];
        while let Ok((length, who)) = socket.recv_from(&mut buffer) {
            let Some(question) = buffer.get(12..length) else {
                continue;
            };
            let end = question
                .iter()
                .position(|byte| *byte == 0)
                .map_or(0, |end| end + 5);
            let Some(question) = question.get(..end) else {
                continue;
            };
            let ours = question.starts_with(&wanted);
            let address = ours && question.ends_with(&[0, 1, 0, 1]);
            let mut answer = buffer[..2].to_vec();
            answer.extend([
                0x84,
                if ours { 0x80 } else { 0x83 },
                0,
                1,
                0,
                u8::from(address),
                0,
                0,
                0,
                0,
            ]);
            answer.extend(question);
            if address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, who);
        }
    });
    address
}

#[tokio::test]
async fn it_resolves_names() {
    let server = s3::Server::start();
    let nameserver = name_server("s3.cataloger.test");
    let directory = tempfile::tempdir().expect("a directory");
    let configuration = directory.path().join("resolv.conf");
    std::fs::write(&configuration, format!("nameserver {}\n", nameserver.ip())).expect("a file");
    let port = server.endpoint().rsplit(':').next().expect("a port");
    let comment = async |host: &str| {
        let endpoint = format!("AWS_ENDPOINT_URL=http://{host}:{port}");
        let (id, secret) = (
            format!("AWS_ACCESS_KEY_ID={}", s3::ID),
            format!("AWS_SECRET_ACCESS_KEY={}", s3::SECRET),
        );
        let output = run(
            &[
                "comment",
                "well done",
                "--output",
                &format!("s3://{}/there", s3::BUCKET),
            ],
            &[&endpoint, &id, &secret, "AWS_REGION=us-east-1"],
            &[(configuration.clone(), PathBuf::from("/etc/resolv.conf"))],
            true,
        )
        .await;
        text(&output.stderr)
    };
    // The bucket answered: it was found, and it is empty.
    let said = comment("s3.cataloger.test").await;
    assert!(said.contains("there is no catalog"), "{said}");
    let said = comment("elsewhere.cataloger.test").await;
    assert!(
        said.contains("elsewhere.cataloger.test") && !said.contains("there is no catalog"),
        "{said}"
    );
}
