#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the kubectl commands of tests/golden/oracle/cli.txt and compares what is printed with what was printed against Kubernetes. TAP on stdout.

cli_replay.py KUBECTL KUBECONFIG CLI.TXT EXCEPTIONS VERSION [--loose]

What differs from run to run is masked on both sides: ages, uids, addresses and ports that the server chose, generated suffixes, times; runs of blanks
count as one, since column widths follow the contents. --loose (other kubectl versions than the recorded one): only exit statuses are compared, and
that something is printed where something was.
EXCEPTIONS: `command: reason` a line, for commands of kinds that are not served; a command may be cut with * at its end. `[1.20] command: reason` is for
that version of kubectl alone.
"""
import fnmatch
import os
import re
import subprocess
import sys
import tempfile


def parse(path):
    """Manifests by file name, and (command, output, status) in order."""
    files, commands, name, body = {}, [], None, []
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("$ "):
            name = None
            commands.append([line[2:], [], 0])
        elif m := re.fullmatch(r"--- (\S+\.yaml)", line):
            if not commands:
                name = m.group(1)
                files[name] = []
        elif name is not None:
            files[name].append(line)
        elif commands and (m := re.fullmatch(r"\[exit (\d+)\]", line)):
            commands[-1][2] = int(m.group(1))
        elif commands:
            commands[-1][1].append(line)
    return files, [(c, "\n".join(o).rstrip("\n"), s) for c, o, s in commands]


AGE = r"(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?"


def mask(text, chosen):
    text = re.sub(r"\b10\.96\.\d+\.\d+\b", lambda m: m.group(0) if m.group(0) in chosen else "IP", text)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID", text)
    text = re.sub(r"\b(webui)-[0-9a-z]{8,10}(-[a-z0-9]{5})?\b", lambda m: "webui-HASH" + ("-POD" if m.group(2) else ""), text)
    text = re.sub(r"(clusterip-service|hello-node-svc)-[a-z0-9]{5}\b", r"\1-SUFFIX", text)
    text = re.sub(r"pod-template-hash=\w+", "pod-template-hash=HASH", text)
    text = re.sub(r"\b3\d{4}(?=/TCP|/UDP)", lambda m: m.group(0) if m.group(0) in chosen else "PORT", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME", text)
    text = re.sub(r'resourceVersion: "\d+"', "resourceVersion: RV", text)
    text = re.sub(r"^kube-system .*\n?", "", text, flags=re.M)  # our DNS is a Service there
    text = re.sub(r"^\d+[smh] ", "AGE ", text, flags=re.M)
    text = re.sub(r"(?<=[ \t(])(" + AGE + r")(?=\s|$|\))", lambda m: "AGE" if m.group(1) else "", text, flags=re.M)
    text = re.sub(r"/tmp/\S*?(LIVE|MERGED)-\d+", r"\1", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"[ \t]+$", "", text, flags=re.M)).strip()


def main():
    kubectl, kubeconfig, golden, exceptions, version = sys.argv[1:6]
    loose = "--loose" in sys.argv
    files, commands = parse(golden)
    excepted = []
    for line in open(exceptions, encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            command, reason = line.rstrip("\n").rsplit(": ", 1)
            if m := re.match(r"\[([\d.]+)\] ", command):
                if m.group(1) != version:
                    continue
                command = command[m.end():]
            excepted.append((command, reason))
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, body in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write("\n".join(body) + "\n")
        bin_dir = os.path.join(folder, "bin")
        os.mkdir(bin_dir)
        os.symlink(os.path.abspath(kubectl), os.path.join(bin_dir, "kubectl"))
        env = dict(os.environ, KUBECONFIG=os.path.join(folder, "config"), PATH=bin_dir + ":" + os.environ["PATH"], HOME=folder)
        subprocess.run(["cp", kubeconfig, env["KUBECONFIG"]], check=True)
        run = lambda c: subprocess.run(["bash", "-o", "pipefail", "-c", c], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       stdin=subprocess.DEVNULL, timeout=60)
        run("kubectl create namespace oracle; kubectl config set-context --current --namespace=oracle")
        chosen = {"10.96.0.1", "10.96.100.100", "30036", "30099"}
        for n, (command, want, status) in enumerate(commands, 1):
            reason = next((r for c, r in excepted if fnmatch.fnmatchcase(command, "kubectl " + c.replace("[", "[[]"))), None)
            label = f"{n} - {command}"
            if reason:
                print(f"ok {label} # left out: {reason}")
                continue
            got = run(command)
            w, g = mask(want, chosen), mask(got.stdout, chosen)
            if loose:
                same = got.returncode == status and bool(w) == bool(g)
            else:
                same = got.returncode == status and sorted(w.splitlines()) == sorted(g.splitlines())
            if same:
                print(f"ok {label}")
                continue
            failed += 1
            print(f"not ok {label}\n# exit {got.returncode}, expected {status}")
            for line in [f"+ {x}" for x in g.splitlines() if x not in w.splitlines()][:40] + [f"- {x}" for x in w.splitlines() if x not in g.splitlines()][:40]:
                print("# " + line)
    print(f"1..{len(commands)}")
    return 1 if failed else 0


sys.exit(main())
