using System.CommandLine;

namespace FedLearn.Cli.Commands;

/// <summary>Options that several verbs share.</summary>
internal static class CommonOptions
{
    public static Option<string> Config(string description) => new("--config") { Description = description, Required = true, HelpName = "FILE" };

    public static Option<string?> Report() => new("--report") { Description = "Write the report as JSON.", HelpName = "FILE" };

    public static Option<string?> Html() => new("--html") { Description = "Write the report as one self-contained HTML page.", HelpName = "FILE" };

    public static Option<bool> Fresh() => new("--fresh")
    {
        Description = "Forget a run of this job that was cut off, and begin anew; what the forgotten one has cost is settled by the epochs that had begun.",
    };

    public static Option<bool> InProcess() => new("--in-process")
    {
        Description = "Run all parties in this process; with transport grpc they still talk gRPC over loopback.",
    };
}
