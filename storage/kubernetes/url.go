package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

var errURL = errors.New("storage/kubernetes: the URL can't be read: it is like kubernetes:///namespace/name in a pod, " +
	"or kubernetes://host:6443/namespace/name?token=/file&ca=/file")

// Open returns a store in the Secrets of the API server that the URL names. It asks nothing of the server yet, so that a
// program can start while it is down. The store must be closed with Close.
//
//	kubernetes:///                                    in a pod: its API server, service account and namespace
//	kubernetes:///namespace/name                      another namespace, and Config.Name
//	kubernetes://10.0.0.1:6443/namespace/name?account=/folder
//
// The parameter account is a folder with the files token, ca.crt and namespace, as a pod has it at
// /var/run/secrets/kubernetes.io/serviceaccount, which is taken if nothing is said. The parameters token and ca are files to
// be taken in place of its; cert and key are files of a client's certificate, with which there need be no token. All are
// read again whenever they are needed. What the URL and the Config both say must be the same.
//
// Errors never quote the URL.
func Open(ctx context.Context, rawURL string, c Config) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("storage/kubernetes: %w", err)
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "kubernetes" || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return nil, errURL // err quotes the URL
	}
	namespace, name, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if err := agree(&c.Namespace, namespace, "namespace"); err != nil {
		return nil, err
	}
	if err := agree(&c.Name, name, "name"); err != nil {
		return nil, err
	}
	a, folder, err := readAccount(u.RawQuery)
	if err != nil {
		return nil, err
	}
	address := u.Host
	if address == "" {
		if address, err = podServer(); err != nil {
			return nil, err
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "443"
	}
	if host == "" || port == "" {
		return nil, errURL
	}
	a.host = host
	if c.Namespace == "" {
		if c.Namespace, err = readNamespace(folder); err != nil {
			return nil, err
		}
	}
	return newStore(a.client(net.JoinHostPort(host, port)), c)
}

// agree sets the Config's field to what the URL says.
func agree(field *string, said, what string) error {
	if said != "" && *field != "" && said != *field {
		return fmt.Errorf("storage/kubernetes: the URL has the %s %.80q, the Config %.80q: leave one of them out", what, said, *field)
	}
	if said != "" {
		*field = said
	}
	return nil
}

// readAccount returns the files that the parameters of a URL name, and the account's folder.
func readAccount(query string) (a account, folder string, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return account{}, "", errURL
	}
	folder = podAccount
	for name, all := range values {
		value := all[0]
		if len(all) > 1 || value == "" {
			return account{}, "", fmt.Errorf("storage/kubernetes: the URL has the parameter %.40q empty, or twice", name)
		}
		switch name {
		case "account":
			folder = value
		case "token":
			a.token = value
		case "ca":
			a.ca = value
		case "cert":
			a.cert = value
		case "key":
			a.key = value
		default:
			return account{}, "", fmt.Errorf("storage/kubernetes: the URL has the parameter %.40q, which is none of account, token, ca, cert and key", name)
		}
	}
	if (a.cert == "") != (a.key == "") {
		return account{}, "", errors.New("storage/kubernetes: the URL has one of the parameters cert and key: a client's certificate needs both")
	}
	if a.token == "" && a.cert == "" {
		a.token = filepath.Join(folder, "token")
	}
	if a.ca == "" {
		a.ca = filepath.Join(folder, "ca.crt")
	}
	return a, folder, nil
}
