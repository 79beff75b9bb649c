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

    /// <summary>The same, interrupted as soon as standard error has a line that begins so.</summary>
    public static async Task<ToolRun> InterruptedAt(string line, params string[] args)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        using StringWriter output = new(), error = new StoppingWriter(line, stop);
        int code = await Tool.RunAsync(args, output, error, stop.Token);
        return new(code, output.ToString(), error.ToString());
    }

    private sealed class StoppingWriter(string line, CancellationTokenSource stop) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (value?.StartsWith(line, StringComparison.Ordinal) == true)
                stop.Cancel();
        }
    }
}
