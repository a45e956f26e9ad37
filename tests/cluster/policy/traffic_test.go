package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The network of these tests: a node, three Pods and a host outside, each a network namespace of its own, so that
// nothing of the machine's is touched. Links are those of the CNI plugin ptp: all goes through the node.
var hosts = map[string]string{
	"subject": "198.18.0.2",
	"near":    "198.18.0.3",
	"far":     "198.18.0.4",
	"outside": "198.19.0.9",
}

const (
	nodeAddress = "198.18.255.1"
	// service is an address that the node's rules send to `near`, as kube-proxy would.
	service = "198.19.77.7:80"
	// short is how long a connection is waited for that is to be dropped, and long one that is to be made.
	short, long = 300 * time.Millisecond, 5 * time.Second
)

type network struct {
	t      *testing.T
	prefix string
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces and nftables need root: run it as root")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing: install iproute2 and nftables", program)
		}
	}
	n := &network{t: t, prefix: fmt.Sprintf("policy-%d-", os.Getpid())}
	n.make("node")
	n.run("node", "ip", "addr", "add", nodeAddress+"/32", "dev", "lo")
	n.run("node", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	for name, address := range hosts {
		n.make(name)
		link := "pod-" + name
		if name == "outside" {
			link = name
		}
		n.run("node", "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", n.prefix+name)
		n.run("node", "ip", "link", "set", link, "up")
		n.run("node", "ip", "route", "add", address, "dev", link, "src", nodeAddress)
		n.run(name, "ip", "addr", "add", address+"/32", "dev", "eth0")
		n.run(name, "ip", "link", "set", "eth0", "up")
		n.run(name, "ip", "route", "add", nodeAddress, "dev", "eth0")
		n.run(name, "ip", "route", "add", "default", "via", nodeAddress)
	}
	n.rules(fmt.Sprintf("table ip service { chain prerouting { type nat hook prerouting priority dstnat;\n"+
		"ip daddr 198.19.77.7 tcp dport 80 dnat to %s:8081\n}\n}", hosts["near"]))
	return n
}

func (n *network) make(name string) {
	n.t.Helper()
	if out, err := exec.Command("ip", "netns", "add", n.prefix+name).CombinedOutput(); err != nil {
		n.t.Skipf("network namespaces can't be made here: %s", out)
	}
	n.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.prefix+name).Run() })
	n.run(name, "ip", "link", "set", "lo", "up")
}

func (n *network) run(where string, command ...string) {
	n.t.Helper()
	all := append([]string{"netns", "exec", n.prefix + where}, command...)
	if out, err := exec.Command("ip", all...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s in %s: %v: %s", strings.Join(command, " "), where, err, out)
	}
}

// rules gives nft rules in the node.
func (n *network) rules(text string) {
	n.t.Helper()
	if err := n.apply(context.Background(), text); err != nil {
		n.t.Fatalf("%v in\n%s", err, text)
	}
}

func (n *network) apply(_ context.Context, text string) error {
	command := exec.Command("ip", "netns", "exec", n.prefix+"node", "nft", "-f", "-")
	command.Stdin = strings.NewReader(text)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// in runs something on a thread that is in a namespace: what it opens there stays there.
func (n *network) in(where string, do func() error) error {
	result := make(chan error, 1)
	go func() {
		// Not unlocked: the thread goes with its namespace.
		runtime.LockOSThread()
		file, err := os.Open("/run/netns/" + n.prefix + where)
		if err != nil {
			result <- err
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- do()
	}()
	return <-result
}

// serve answers every connection and every packet with a word.
func (n *network) serve(where, network string, port int) {
	n.t.Helper()
	address := ":" + strconv.Itoa(port)
	err := n.in(where, func() error {
		if network == "udp" {
			socket, err := net.ListenPacket("udp4", address)
			if err != nil {
				return err
			}
			n.t.Cleanup(func() { _ = socket.Close() })
			go func() {
				buffer := make([]byte, 64)
				for {
					length, who, err := socket.ReadFrom(buffer)
					if err != nil {
						return
					}
					_, _ = socket.WriteTo(buffer[:length], who)
				}
			}()
			return nil
		}
		listener, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		n.t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(connection, connection)
					_ = connection.Close()
				}()
			}
		}()
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) dial(from, network, to string, patience time.Duration) (connection net.Conn, err error) {
	err = n.in(from, func() error {
		// Dialed here and now: a Dialer may use another thread.
		fd, address, err := socket(network, to)
		if err != nil {
			return err
		}
		file := os.NewFile(uintptr(fd), "socket")
		defer file.Close()
		timeout := unix.NsecToTimeval(patience.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
			return err
		}
		if err := unix.Connect(fd, address); err != nil {
			return err
		}
		connection, err = net.FileConn(file)
		return err
	})
	return connection, err
}

func socket(network, to string) (int, unix.Sockaddr, error) {
	host, text, err := net.SplitHostPort(to)
	if err != nil {
		return 0, nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0, nil, err
	}
	kind := unix.SOCK_STREAM
	if network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	return fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte(net.ParseIP(host).To4())}, err
}

// talks says whether a word comes back over a connection.
func talks(connection net.Conn, patience time.Duration) bool {
	_ = connection.SetDeadline(time.Now().Add(patience))
	if _, err := connection.Write([]byte("x")); err != nil {
		return false
	}
	_, err := io.ReadFull(connection, make([]byte, 1))
	return err == nil
}

func (n *network) reaches(from, network, to string, wanted bool) {
	n.t.Helper()
	patience := short
	if wanted {
		patience = long
	}
	connection, err := n.dial(from, network, to, patience)
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.ETIMEDOUT) {
		n.t.Fatalf("%s to %s: %v", from, to, err)
	}
	got := err == nil
	if got {
		defer connection.Close()
		got = talks(connection, patience)
	}
	if got != wanted {
		n.t.Errorf("%s reaches %s by %s: %t, not %t", from, to, network, got, wanted)
	}
}

// try gives the node the rules for a policy, and looks who reaches whom.
func (n *network) try(spec string, expected map[string]bool) {
	n.t.Helper()
	text := strings.TrimSuffix(subject, "---\n"+subject[strings.LastIndex(subject, "apiVersion:"):])
	if spec != "" {
		text = subject + "  " + spec
	}
	rules, _ := Compile(read(n.t, strings.TrimSuffix(text, "\n")), node)
	n.rules(rules)
	for way, wanted := range expected {
		words := strings.Fields(way)
		address := words[2]
		if host, port, found := strings.Cut(words[2], ":"); found && hosts[host] != "" {
			address = hosts[host] + ":" + port
		}
		n.reaches(words[0], words[1], address, wanted)
	}
}

func TestTraffic(t *testing.T) {
	n := newNetwork(t)
	for name := range hosts {
		n.serve(name, "tcp4", 8080)
		n.serve(name, "tcp4", 8081)
		n.serve(name, "udp", 53)
	}
	n.serve("node", "tcp4", 6443)
	toNode := "subject tcp " + nodeAddress + ":6443"
	toService := "subject tcp " + service

	n.rules(Closed(node))
	n.reaches("subject", "tcp", hosts["near"]+":8080", false)
	n.reaches("outside", "tcp", hosts["near"]+":8080", false)
	n.reaches("subject", "tcp", nodeAddress+":6443", false)
	n.reaches("node", "tcp", hosts["subject"]+":8080", true)
	n.reaches("outside", "tcp", nodeAddress+":6443", true)

	// No policy: everybody reaches everybody.
	n.try("", map[string]bool{
		"subject tcp near:8080": true, "subject udp near:53": true, "far tcp subject:8080": true,
		"outside tcp subject:8080": true, "subject tcp outside:8080": true, toNode: true, toService: true,
	})
	// Neither in nor out; others are not concerned, and the node may still look after its Pod.
	n.try("{podSelector: {matchLabels: {app: subject}}, policyTypes: [Ingress, Egress]}", map[string]bool{
		"subject tcp near:8080": false, "subject udp near:53": false, "near tcp subject:8080": false,
		"outside udp subject:53": false, "subject tcp outside:8080": false, toNode: false, toService: false,
		"near tcp far:8080": true, "near tcp outside:8080": true, "node tcp subject:8080": true,
	})
	// Out to one Pod and one port; it is no matter by which address it is called.
	n.try(`{podSelector: {matchLabels: {app: subject}}, policyTypes: [Egress],
	        egress: [{to: [{podSelector: {matchLabels: {app: near}}}], ports: [{port: web}]}]}`, map[string]bool{
		"subject tcp near:8081": true, toService: true, "subject tcp near:8080": false, "subject udp near:53": false,
		"subject tcp far:8081": false, "subject tcp outside:8081": false, toNode: false,
		"far tcp subject:8080": true,
	})
	// A range does not mean the address of a service, but where the packet goes.
	n.try(`{podSelector: {matchLabels: {app: subject}}, policyTypes: [Egress],
	        egress: [{to: [{ipBlock: {cidr: 198.19.0.0/16}}, {ipBlock: {cidr: 198.18.255.1/32}}]}]}`, map[string]bool{
		toService: false, "subject tcp outside:8080": true, "subject tcp near:8081": false, toNode: true,
	})
	n.try(`{podSelector: {matchLabels: {app: subject}}, policyTypes: [Egress],
	        egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [198.19.0.9/32, 198.18.0.4/32]}}]}]}`, map[string]bool{
		"subject tcp outside:8080": false, "subject tcp far:8080": false, "subject tcp near:8080": true, toNode: true,
	})
	// In from another namespace, UDP only; both ends must let it through.
	n.try(`{podSelector: {}, egress: [{ports: [{protocol: UDP}]}],
	        ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: 53, protocol: UDP}]}]}`,
		map[string]bool{
			"far udp subject:53": true, "far tcp subject:8080": false, "near udp subject:53": false,
			"outside udp subject:53": false, "subject udp far:53": true, "subject tcp far:8080": false,
		})
	// Ports from to.
	n.try(`{podSelector: {matchLabels: {app: subject}}, ingress: [{ports: [{port: 8081, endPort: 9000}]}]}`, map[string]bool{
		"near tcp subject:8081": true, "outside tcp subject:8081": true, "near tcp subject:8080": false,
	})
	// What is not understood.
	n.try(`{podSelector: {matchLabels: {app: subject}}, policyTypes: [Egress], egress: [{}, {to: [{}]}]}`, map[string]bool{
		"subject tcp near:8080": false, "near tcp subject:8080": true,
	})
}

func TestAnUnknownAddressIsClosed(t *testing.T) {
	n := newNetwork(t)
	n.serve("subject", "tcp4", 8080)
	n.serve("near", "tcp4", 8080)
	n.serve("outside", "tcp4", 8080)
	n.serve("node", "tcp4", 6443)
	state := read(t, strings.TrimSuffix(subject, "spec:\n")+"spec: {podSelector: {matchLabels: {app: none}}}")
	state.Pods = state.Pods[1:]
	rules, _ := Compile(state, node)
	n.rules(rules)
	n.reaches("subject", "tcp", hosts["near"]+":8080", false)
	n.reaches("subject", "tcp", hosts["outside"]+":8080", false)
	n.reaches("subject", "tcp", nodeAddress+":6443", false)
	n.reaches("near", "tcp", hosts["subject"]+":8080", false)
	n.reaches("near", "tcp", hosts["outside"]+":8080", true)

	// Nor with an address that is not its own: nothing comes from a Pod's link but from a Pod's address.
	n.run("subject", "ip", "addr", "replace", "198.19.3.3/32", "dev", "eth0")
	n.run("subject", "ip", "route", "replace", "default", "via", nodeAddress, "src", "198.19.3.3")
	n.run("node", "ip", "route", "add", "198.19.3.3", "dev", "pod-subject")
	n.reaches("subject", "tcp", hosts["outside"]+":8080", false)
	n.run("outside", "ip", "route", "add", "198.19.3.3", "via", nodeAddress)
	n.reaches("outside", "tcp", "198.19.3.3:8080", false)
}

// A Pod's link has addresses of IPv6 by itself, and programs of the node listen on them.
func TestThereIsNoWayAroundByIPv6(t *testing.T) {
	n := newNetwork(t)
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6")
	}
	n.run("node", "ip", "address", "add", "fd00::1/64", "dev", "pod-subject", "nodad")
	n.run("subject", "ip", "address", "add", "fd00::2/64", "dev", "eth0", "nodad")
	n.serve("node", "tcp6", 6443)
	connect := []string{"netns", "exec", n.prefix + "subject", "timeout", "1", "bash", "-c", ": </dev/tcp/fd00::1/6443"}
	if out, err := exec.Command("ip", connect...).CombinedOutput(); err != nil {
		t.Fatalf("without rules: %v: %s", err, out)
	}
	rules, _ := Compile(read(t, subject+"  {podSelector: {matchLabels: {app: none}}}"), node)
	n.rules(rules)
	if exec.Command("ip", connect...).Run() == nil {
		t.Error("a Pod reaches the node by IPv6")
	}
}

func TestANewPolicyCutsConnections(t *testing.T) {
	n := newNetwork(t)
	n.serve("near", "tcp4", 8080)
	open := strings.TrimSuffix(subject, "spec:\n") + "spec: {podSelector: {matchLabels: {app: none}}}"
	rules, _ := Compile(read(t, open), node)
	n.rules(rules)
	connection, err := n.dial("subject", "tcp", hosts["near"]+":8080", long)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if !talks(connection, long) {
		t.Fatal("no word came back")
	}
	n.rules(rules)
	if !talks(connection, long) {
		t.Error("the same rules anew have cut a connection")
	}
	rules, _ = Compile(read(t, subject+"  {podSelector: {matchLabels: {app: subject}}, policyTypes: [Egress]}"), node)
	n.rules(rules)
	if talks(connection, short) {
		t.Error("the connection goes on")
	}
}

// TestGoldenIsAccepted gives all golden rules to the kernel.
func TestGoldenIsAccepted(t *testing.T) {
	n := newNetwork(t)
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".nft") {
			text, err := os.ReadFile("testdata/" + entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			n.rules(string(text))
		}
	}
	n.rules(fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\n", Table))
}
