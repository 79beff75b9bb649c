using FedLearn.Diagnostics;

namespace FedLearn.Cli.Commands;

/// <summary>The one place where errors become messages and exit codes.</summary>
internal static class Outcome
{
    public static async Task<int> ToExitCodeAsync(Func<Task> work)
    {
        try
        {
            await work().ConfigureAwait(false);
            return 0;
        }
        catch (FedLearnException e)
        {
            Console.Error.WriteLine(e.Message);
            return e.ExitCode;
        }
    }
}
