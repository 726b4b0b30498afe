module github.com/xlb-io/xlb

go 1.26
