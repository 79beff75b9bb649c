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
        return await WithAsync(line, stop.Cancel, args, stop.Token);
    }

    /// <summary>The same, with something that happens meanwhile: as soon as standard error has a line that begins so, and before the tool goes on.</summary>
    public static Task<ToolRun> Meanwhile(string line, Action happens, params string[] args) => WithAsync(line, happens, args, TestContext.Current.CancellationToken);

    private static async Task<ToolRun> WithAsync(string line, Action happens, string[] args, CancellationToken cancellationToken)
    {
        using StringWriter output = new(), error = new WatchingWriter(line, happens);
        int code = await Tool.RunAsync(args, output, error, cancellationToken);
        return new(code, output.ToString(), error.ToString());
    }

    private sealed class WatchingWriter(string line, Action happens) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (value?.StartsWith(line, StringComparison.Ordinal) == true)
                happens();
        }
    }
}
