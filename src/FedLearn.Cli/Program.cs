using System.Text;
using FedLearn.Cli;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Output;

// What is done with a message of a round before the party goes on is shorter than waking a thread for it takes: it is done in the thread that learns of the data. Read at the first socket.
const string InlineCompletions = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";
if (Environment.GetEnvironmentVariable(InlineCompletions) is null)
    Environment.SetEnvironmentVariable(InlineCompletions, "1");
PartyCommand.Foresee(args);
// Documents are UTF-8 wherever they go, whatever the locale.
Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
Console.SetOut(new StandardOutput(Console.Out));
return await Tool.RunAsync(args, Console.Out, Console.Error).ConfigureAwait(false);
