package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"flag"
	"fmt"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// authority signs the certificates of one cluster, and writes what it signs to a directory.
type authority struct {
	directory   string
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	serial      int64
}

// runPKI writes all keys, certificates and kubeconfigs of a new cluster. They end with the cluster.
func runPKI() {
	flags := flag.NewFlagSet("pki", flag.ExitOnError)
	directory := flags.String("directory", "", "where the files go")
	address := flags.String("address", "", "the node's address")
	service := flags.String("service", "", "the address of the service kubernetes")
	node := flags.String("node", "", "the node's name")
	server := flags.String("server", "", "the URL of the API server")
	_ = flags.Parse(os.Args[1:])

	a := newAuthority(*directory)
	a.serve("apiserver", "kube-apiserver", *address, *service, "127.0.0.1", "localhost", "kubernetes",
		"kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	a.serve("kubelet", "system:node:"+*node, *address, *node)
	a.client("apiserver-to-kubelet", "kube-apiserver", "system:masters")
	a.serviceAccounts()
	for file, who := range map[string][]string{
		"kubeconfig":                    {"cataloger-tests", "system:masters"},
		"controller-manager.kubeconfig": {"system:kube-controller-manager"},
		"scheduler.kubeconfig":          {"system:kube-scheduler"},
		"proxy.kubeconfig":              {"system:kube-proxy"},
		"policy.kubeconfig":             {"cataloger-tests-policy"},
		"kubelet.kubeconfig":            {"system:node:" + *node, "system:nodes"},
	} {
		certificate, key := a.sign(x509.ExtKeyUsageClientAuth, who[0], who[1:], nil)
		a.kubeconfig(file, *server, certificate, key)
	}
}

func newAuthority(directory string) *authority {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cataloger-tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:     true, BasicConstraintsValid: true,
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	certificate, err := x509.ParseCertificate(encoded)
	check(err)
	a := &authority{directory: directory, key: key, certificate: certificate, serial: 1}
	a.write("ca.crt", encodeCertificate(encoded))
	a.write("ca.key", encodeKey(key))
	return a
}

// serve writes the certificate and the key of a server, which goes by these names.
func (a *authority) serve(file, subject string, names ...string) {
	certificate, key := a.sign(x509.ExtKeyUsageServerAuth, subject, nil, names)
	a.write(file+".crt", certificate)
	a.write(file+".key", key)
}

// client writes the certificate and the key of a client who is in these groups.
func (a *authority) client(file, user string, groups ...string) {
	certificate, key := a.sign(x509.ExtKeyUsageClientAuth, user, groups, nil)
	a.write(file+".crt", certificate)
	a.write(file+".key", key)
}

// serviceAccounts writes the keys that tokens are signed with and checked by.
func (a *authority) serviceAccounts() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	check(err)
	a.write("service-accounts.key", encodeKey(key))
	a.write("service-accounts.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

func (a *authority) sign(usage x509.ExtKeyUsage, user string, groups, names []string) (certificate, key []byte) {
	private := newKey()
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: user, Organization: groups},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	check(err)
	return encodeCertificate(encoded), encodeKey(private)
}

func (a *authority) kubeconfig(file, server string, certificate, key []byte) {
	text := base64.StdEncoding.EncodeToString
	a.write(file, []byte(strings.Join([]string{
		"apiVersion: v1",
		"kind: Config",
		"current-context: cataloger-tests",
		"contexts: [{name: cataloger-tests, context: {cluster: cataloger-tests, user: cataloger-tests}}]",
		"clusters:",
		"- name: cataloger-tests",
		"  cluster:",
		"    server: " + server,
		"    certificate-authority-data: " + text(encodeCertificate(a.certificate.Raw)),
		"users:",
		"- name: cataloger-tests",
		"  user:",
		"    client-certificate-data: " + text(certificate),
		"    client-key-data: " + text(key),
		"",
	}, "\n")))
}

func (a *authority) write(file string, content []byte) {
	check(os.WriteFile(filepath.Join(a.directory, file), content, 0o600))
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	return key
}

func encodeCertificate(encoded []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encoded})
}

func encodeKey(key crypto.PrivateKey) []byte {
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

func check(err error) {
	if err != nil {
		log.Fatal(fmt.Errorf("pki: %w", err))
	}
}
