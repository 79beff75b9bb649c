using System.Text;
using FedLearn.Cli;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Output;

// The thread that learns of data on a socket goes on with the message itself: waking another thread takes longer than the work. The runtime reads the variable at the first socket.
const string InlineCompletions = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";
if (Environment.GetEnvironmentVariable(InlineCompletions) is null)
    Environment.SetEnvironmentVariable(InlineCompletions, "1");
PartyCommand.RehearseHost(args);
// Documents are UTF-8 wherever they go, whatever the locale.
Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
Console.SetOut(new StandardOutput(Console.Out));
return await Tool.RunAsync(args, Console.Out, Console.Error).ConfigureAwait(false);
