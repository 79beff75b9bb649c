using System.Runtime.CompilerServices;

namespace FedLearn.Tests.Shared;

/// <summary>Processes that tests start open no door to debuggers and profilers: its pipes and socket would stay in the temporary folder when the process is killed.</summary>
internal static class ChildDiagnostics
{
    private const string Variable = "DOTNET_EnableDiagnostics";

    /// <summary>Before any test starts one; all that a process starts inherit its environment. Whoever wants to look into a child sets the variable to 1.</summary>
    [ModuleInitializer]
    internal static void TurnOff()
    {
        if (Environment.GetEnvironmentVariable(Variable) is null)
            Environment.SetEnvironmentVariable(Variable, "0");
    }
}
