// Package site holds the built page: what site/build leaves in dist, embedded in whatever program imports it.
//
// Each file F has F.br and F.gz beside it; names below assets/ carry a hash of their content. The package knows nothing of
// HTTP. Before the first build Dist has no index.html.
package site

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var files embed.FS

// Dist is the root of the page's files.
var Dist fs.FS = dist()

func dist() fs.FS {
	sub, err := fs.Sub(files, "dist")
	if err != nil {
		panic(err) // the name is a constant and valid
	}
	return sub
}
