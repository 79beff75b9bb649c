namespace FedLearn.Experiments;

/// <summary>What the tool asks of the runtime (FedLearn.Cli.csproj, Program.cs), for processes of an experiment that stand for it.</summary>
internal static class ToolSettings
{
    /// <summary>Adds the settings to those of a process; what is set already stays, so that other ones can be tried.</summary>
    public static void AddTo(IDictionary<string, string?> environment)
    {
        environment.TryAdd("DOTNET_TC_QuickJit", "0");
        environment.TryAdd("DOTNET_TieredPGO", "0");
        // Hexadecimal, as the runtime reads its variables: 8,192 calls.
        environment.TryAdd("DOTNET_TC_CallCountThreshold", "2000");
        environment.TryAdd("DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS", "1");
    }
}
