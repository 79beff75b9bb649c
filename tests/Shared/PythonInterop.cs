using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace FedLearn.Tests.Shared;

/// <summary>Parties in Python on grpcio, scripts of tests/interop: the other end of the wire, of which none of ours is a part.</summary>
internal static class PythonInterop
{
    private const string Python = "/usr/bin/python3";

    /// <summary>Skips the test where Debian's grpcio is absent.</summary>
    internal static void Require()
    {
        foreach ((string program, string[] arguments) in new (string, string[])[] { (Python, ["-c", "import grpc, numpy"]), ("protoc", ["--version"]), ("which", ["grpc_python_plugin"]) })
        {
            try
            {
                using Process process = Run(program, arguments);
                process.WaitForExit();
                if (process.ExitCode == 0)
                    continue;
            }
            catch (System.ComponentModel.Win32Exception)
            {
                // absent
            }

            Assert.Skip("Debian's python3-grpcio, python3-numpy, protobuf-compiler and protobuf-compiler-grpc are needed.");
        }
    }

    /// <summary>Starts a script.</summary>
    internal static Process Start(string script, params string[] arguments) => Run(Python, [Path.Combine(Folder(), script), .. arguments]);

    private static Process Run(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PYTHONDONTWRITEBYTECODE"] = "1";
        return Process.Start(start)!;
    }

    private static string Folder([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", "interop");
}
