namespace FedLearn.Cli.Tests;

/// <summary>What the tool did with a command line, run in memory.</summary>
internal sealed record ToolRun(int ExitCode, string Output, string Error)
{
    public static async Task<ToolRun> Of(params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = await Tool.RunAsync(args, output, error, TestContext.Current.CancellationToken);
        return new(code, output.ToString(), error.ToString());
    }
}
