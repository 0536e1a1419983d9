// Package deploy keeps files of the certificates that a [certmanager.Manager] serves, for programs beside it that read
// certificates from files: nginx, HAProxy, Postfix. It runs a command when they have changed.
//
//	d := &deploy.Deployer{Dir: "/etc/everseal/live", Group: "ssl-cert", Command: []string{"nginx", "-s", "reload"}}
//	config.OnEvent = d.OnEvent // it may be left out: then files are half a minute late
//	m, err := certmanager.New(config)
//	...
//	d.Manager = m
//	go d.Run(ctx) // beside m.Run or m.Serve
//
// A program that a timer starts, and that ends when nothing is left to do, calls [Deployer.Deploy] in place of Run.
//
// README.md has configurations of the programs.
//
// # Files
//
// Each name has a folder as certbot's live folder has it: fullchain.pem, privkey.pem, cert.pem and chain.pem, at paths that
// stay. The four are links by way of one link, which one rename switches to a new version:
//
//	live/example.com/fullchain.pem -> .current/fullchain.pem
//	live/example.com/.current      -> .7
//	live/example.com/.7/fullchain.pem, and three more
//
// A program that opens fullchain.pem and then privkey.pem while they are switched can still get one of each, as with any
// two paths: it fails, and the command, which comes after the switch, has it read them again. A folder holds all that its
// links lead to, and can be mounted into a container by itself. Two former versions are kept. With Deployer.OneFile a name
// has one file for HAProxy, NAME.pem, replaced by one rename, and what else is in Dir begins with a dot, which HAProxy passes
// over.
//
// A wildcard's files are called _.example.com, and the colons of an address are underscores. Names are those that the manager
// has checked: none leads out of Dir, and neither does a link in it. A certificate of several names is called by the first of
// them that is no wildcard, in the order of the alphabet, unless Deployer.Names says which.
//
// Modes and group are what Deployer.KeyMode and Group say, whatever the umask, for each version anew; a file system
// that does not keep them is an error. A folder in which another program, such as certbot, keeps its files is left alone, and
// an error says so. One Deployer is for one Dir; another process with the same waits while one is at work there, and says so
// if that takes longer than a minute.
//
// # What is kept up
//
// At the start, each half a minute and at each call of OnEvent all files are compared with what the manager serves:
// content, modes and links. What differs, for whatever reason, is written anew. So a file is never older than what is served
// for longer than a minute, unless writing fails; that is reported and tried again after ten seconds, then twice as
// long, up to a minute. Everything is flushed to the medium before it is switched. A crash at any moment leaves the old files or
// the new ones.
//
// Nothing happens before the manager has a certificate: a dry run, or an attempt that fails, changes no file and runs no
// command. Files of a name that is not managed any more stay, so that a server which names them still starts. A key that
// certmanager.Config.Keys has can't be in a file: that is an error.
//
// # The command
//
// After the files of a name have changed, the command is run, without a shell, and with certbot's variables:
//
//	RENEWED_LINEAGE  the absolute path of the folder, such as /etc/everseal/live/example.com, or of the one file
//	RENEWED_DOMAINS  all names of the certificate, separated by spaces
//
// One runs at a time, and files are kept up meanwhile. With Deployer.Together one run is for all names that change within
// five seconds, or for as many as 32,000 bytes of the variables have room for: RENEWED_LINEAGE has a line for each of them, and
// RENEWED_DOMAINS all names. A run that fails, or takes longer
// than Deployer.Timeout, is reported, and tried again after ten seconds, then twice as long, up to ten minutes, until one
// succeeds. A file .done beside the certificates says for which the command has succeeded: after a crash, or an end of
// the process before that, the next start runs it again, so that it has to bear being run once more than needed. What it
// leaves running may go on.
//
// In errors stands the end of what a command that failed has printed. PEM is left out of it, and so are values of
// variables that may be secrets. The command's words are shown: no secret belongs in them.
//
// # Windows
//
// Folders need symbolic links, which Windows keeps from most programs: set Deployer.OneFile. Group and KeyMode are refused; the
// file has the permissions that it inherits from Dir. The command's children are not killed with it.
package deploy
