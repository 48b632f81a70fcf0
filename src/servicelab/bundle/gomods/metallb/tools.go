//go:build tools

// Package tools names what is built, so that go mod tidy keeps its requirements.
package tools

import _ "go.universe.tf/metallb/controller"
import _ "go.universe.tf/metallb/speaker"
